"""The table: what each contender reached, by how much ours is better, and whether the aims are met."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.quality.judging import Score, best, difference, point, score
from benchmarks.quality.studies import Study
from services.evaluation.statistics import Measure
from shared.pipelines.kinds import METRICS

TRAINED = ("full", "lora")
MOST_TRAINED_SHARE = 0.05
AIMS = {
    "beats_every_baseline": "full or LoRA above every baseline, the 95 % interval of the difference without 0",
    "lora_near_full": "LoRA at most 1 point below full",
    "lora_small": f"LoRA trains at most {MOST_TRAINED_SHARE:.0%} of the parameters",
}


@dataclass(frozen=True)
class Line:
    """A contender in a study, all seeds together."""

    name: str
    ours: bool
    measures: Sequence[Measure]
    """By the study's metric, one a seed."""
    figures: Mapping[str, float]
    """Means over the seeds."""


@dataclass(frozen=True)
class Result:
    """A study with all of its contenders."""

    study: Study
    train_rows: int
    test_rows: int
    left_out: int
    lines: Sequence[Line]
    absent: Sequence[str]
    """Why some contender did not take part."""


def summarise(result: Result) -> dict[str, Any]:
    """A study as JSON: scores, differences from the better of full and LoRA, aims."""
    study, lines = result.study, {line.name: line for line in result.lines}
    scores = {name: score(line.measures) for name, line in lines.items()}
    trained = [name for name in TRAINED if name in lines]
    leader = best(scores, trained, METRICS[study.kind][study.metric]) if trained else ""
    return {
        "study": study.name,
        "kind": study.kind,
        "source": study.source,
        "base": study.base,
        "metric": study.metric,
        "better": METRICS[study.kind][study.metric],
        "train_rows": result.train_rows,
        "test_rows": result.test_rows,
        "left_out": result.left_out,
        "note": study.note,
        "absent": list(result.absent),
        "leader": leader,
        "contenders": [_entry(study, line, scores[line.name], lines.get(leader)) for line in result.lines],
        "aims": _aims(study, lines, scores, leader),
    }


def to_markdown(studies: Sequence[Mapping[str, Any]]) -> str:
    """One table a study."""
    return "\n\n".join(map(_study_table, studies)) + "\n"


def _entry(study: Study, line: Line, own: Score, leader: Line | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": line.name, "ours": line.ours, **asdict(own), **line.figures}
    if leader is not None and leader.name != line.name:
        ahead = difference(study.kind, study.metric, leader.measures, line.measures)
        entry |= {"leader_ahead": ahead.difference, "ahead_low": ahead.low, "ahead_high": ahead.high}
    return entry


def _aims(study: Study, lines: Mapping[str, Line], scores: Mapping[str, Score], leader: str) -> dict[str, bool]:
    found = {}
    baselines = [line for line in lines.values() if not line.ours]
    if leader and baselines:
        ahead = [difference(study.kind, study.metric, lines[leader].measures, one.measures).low for one in baselines]
        found["beats_every_baseline"] = min(ahead) > 0
    if "lora" in lines and "full" in lines:
        behind = difference(study.kind, study.metric, lines["full"].measures, lines["lora"].measures).difference
        found["lora_near_full"] = behind <= point(study.metric, scores["full"].value)
    if "lora" in lines:
        found["lora_small"] = lines["lora"].figures["trained_share"] <= MOST_TRAINED_SHARE
    return found


def _study_table(study: Mapping[str, Any]) -> str:
    about = f"{study['train_rows']:,} rows to learn from, {study['test_rows']:,} judge; {study['base']}"
    notes = [note for note in (study["note"], *(f"absent: {why}" for why in study["absent"])) if note]
    heading = f"### {study['study']} ({study['kind']}, {study['metric']}, {study['better']} is better)"
    head = "| | score (95 %) | seeds | trained | training s | best of ours is ahead by (95 %) | rows |"
    aims = ", ".join(f"{name}: {'yes' if met else '**no**'}" for name, met in study["aims"].items())
    lines = [_table_line(entry, study["leader"]) for entry in study["contenders"]]
    return "\n".join(
        [heading, "", f"{about}. {'; '.join(notes)}".rstrip(), "", head, "|---|---|---|---:|---:|---|---:|", *lines]
        + (["", f"Aims: {aims}."] if aims else [])
    )


def _table_line(entry: Mapping[str, Any], leader: str) -> str:
    ahead = ""
    if "leader_ahead" in entry:
        ahead = f"{_number(entry['leader_ahead'])} ({_number(entry['ahead_low'])} to {_number(entry['ahead_high'])})"
    name = f"**{entry['name']}**" if entry["name"] == leader else entry["name"]
    share = f"{entry['trained_share']:.1%}" if "trained_share" in entry else ""
    seconds = f"{entry['training_seconds']:.0f}" if "training_seconds" in entry else ""
    spread = (
        f"{_number(min(entry['by_seed']))} to {_number(max(entry['by_seed']))}" if len(entry["by_seed"]) > 1 else ""
    )
    value = f"{_number(entry['value'])} ({_number(entry['low'])} to {_number(entry['high'])})"
    return f"| {name} | {value} | {spread} | {share} | {seconds} | {ahead} | {entry['rows']} |"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
