"""One judgement: outputs of all models on the frozen rows, measures, comparisons, verdict, report."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from services.evaluation.case import Case
from services.evaluation.comparing import compare, finite_or_none
from services.evaluation.frozen import FrozenRows, select_rows
from services.evaluation.gate import Compared, Evidence, Verdict, judge
from services.evaluation.holding import Holding
from services.evaluation.kinds import find_kind
from services.evaluation.kinds.base import JudgedKind, Outputs
from services.evaluation.outputs import outputs_of
from services.evaluation.statistics import Measure
from services.evaluation.subjects import Subject, Subjects
from shared.pipelines.kinds import NEW_BASE
from shared.storage.artifacts import Artifacts

Measures = dict[str, Measure]


@dataclass(frozen=True)
class Judgement:
    """All of a report but its id and its place in time."""

    case: Case
    rows: FrozenRows
    metrics: Mapping[str, Mapping[str, float]]
    """By role; NaN where a score is not defined."""
    detail: dict[str, Any]
    verdict: Verdict
    seconds: float


def judge_case(case: Case, artifacts: Artifacts, subjects: Subjects, holding: Holding) -> Judgement:
    """Raises LeaseLost or Unavailable as `holding` does, and whatever loading a model may raise."""
    started = time.monotonic()
    kind = find_kind(case.spec.kind, case.spec.options)
    rows = select_rows(artifacts, case.candidate_manifest, case.champion_manifest, case.spec.gate.test_rows)
    lineup = _lineup(case, kind, subjects)
    outputs = _all_outputs(artifacts, kind, lineup, rows, holding)
    measures = {role: kind.measures(rows.rows, given) for role, given in outputs.items()}
    against, comparisons = _comparisons(case, rows, lineup, measures)
    metrics = {role: {name: measure.value for name, measure in of.items()} for role, of in measures.items()}
    evidence = Evidence(
        test_rows=len(rows.rows),
        metrics=metrics.get("candidate", {}),
        champion=case.champion_version,
        against_champion=against.get("champion"),
        against_base=against.get("base"),
        unknown_classes=kind.unknown_classes(rows.rows, outputs["candidate"]) if outputs else {},
    )
    detail = {
        "test": {"batches": rows.batches, "only_batches_of_champion": case.champion is not None},
        "comparisons": comparisons,
        **(kind.detail(rows.rows, outputs) if outputs else {}),
    }
    verdict = judge(case.spec.gate, evidence)
    return Judgement(case, rows, metrics, detail, verdict, time.monotonic() - started)


def _lineup(case: Case, kind: JudgedKind, subjects: Subjects) -> dict[str, Subject]:
    """Who is judged, by role; the candidate comes last, so that a stop loses least of what is kept."""
    lineup = {}
    if kind.judges_base and case.spec.base != NEW_BASE:
        lineup["base"] = subjects.base(case.candidate, case.spec, kind.half_precision)
    if case.champion is not None:
        lineup["champion"] = subjects.version(case.champion, kind.half_precision)
    lineup["candidate"] = subjects.version(case.candidate, kind.half_precision)
    return lineup


def _all_outputs(
    artifacts: Artifacts, kind: JudgedKind, lineup: Mapping[str, Subject], rows: FrozenRows, holding: Holding
) -> dict[str, Outputs]:
    if not rows.rows:
        return {}
    holding.total = kind.work(rows.rows) * len(lineup)
    return {role: outputs_of(artifacts, kind, subject, rows, holding.step) for role, subject in lineup.items()}


def _comparisons(
    case: Case, rows: FrozenRows, lineup: Mapping[str, Subject], measures: Mapping[str, Measures]
) -> tuple[dict[str, Compared], dict[str, Any]]:
    """By role, against the champion and the base: for the gate, and at length for the report."""
    rules = {"champion": case.spec.gate.champion, "base": case.spec.gate.base}
    against, detail = {}, {}
    for role in measures.keys() - {"candidate"}:
        inputs = [rows.digest, *lineup["candidate"].digests, *lineup[role].digests]
        against[role], detail[role] = compare(
            case.spec.kind, rules[role], measures["candidate"], measures[role], inputs
        )
    return against, detail


def report_columns(judgement: Judgement) -> dict[str, Any]:
    """Columns of the report's row, but id and moment. What is not finite has no place in JSON and is left out."""
    case, metrics = judgement.case, judgement.metrics
    return {
        "model": case.candidate.model,
        "version": case.candidate.version,
        "champion": case.champion_version,
        "dataset_version": case.candidate.dataset_version,
        "test_rows": len(judgement.rows.rows),
        "test_digest": judgement.rows.digest,
        "metrics": _finite(metrics.get("candidate", {})),
        "champion_metrics": _finite(metrics.get("champion", {})),
        "base_metrics": _finite(metrics.get("base", {})),
        "detail": judgement.detail,
        "verdict": judgement.verdict.word,
        "reasons": [asdict(reason) for reason in judgement.verdict.reasons],
        "worse_than_champion": judgement.verdict.worse_than_champion,
        "seconds": judgement.seconds,
    }


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if finite_or_none(value) is not None}
