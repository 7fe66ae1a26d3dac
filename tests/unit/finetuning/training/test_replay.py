"""New rows alone, or with earlier ones: which are learnt, and what is forgotten."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.finetuning.spec import (
    EXIT_DRAINED,
    EXIT_FAILED,
    EXIT_FINISHED,
    DatasetInput,
    DatasetPart,
    Start,
    TrainedBefore,
    TrainingSpec,
)
from shared.modeling.card import ModelCard
from shared.modeling.loading import load_model
from shared.modeling.predict import classify
from shared.pipelines.methods import resolve_method
from tests.support.training_runs import Row, StopAfter, make_spec, named, run, some_rows, weights_of

LABELS = ("label-0", "label-1", "label-2")
OLD = some_rows("classification", 40)
NEW = [
    {**row, "row_id": f"new-{n:03d}", "label": "label-2"}
    for n, row in enumerate(some_rows("classification", 20, start=60))
]
for row in NEW:
    row["text"] = row["text"].rsplit(" ", 1)[0] + " fifteen coins"


def _parts(folder: Path, *parts: list[Row]) -> DatasetInput:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, rows in enumerate(parts):
        path = folder / f"part-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        made.append(DatasetPart(path, sha256(path.read_bytes()).hexdigest()))
    return DatasetInput(sha256("".join(part.digest for part in made).encode()).hexdigest(), tuple(made))


def _spec(folder: Path, share: float | None, new: list[Row] = NEW, **changes: Any) -> TrainingSpec:
    """A run after a champion that was trained on OLD."""
    spec = make_spec(folder, "classification", OLD, {"epochs": 4, "learning_rate": 3e-3, "batch_size": 8})
    dataset = _parts(folder, OLD, new)
    method = spec.method.model_dump() | {"rows": "new", "replay": None if share is None else {"share": share}}
    before = TrainedBefore(1, "1" * 64, frozenset({dataset.parts[0].digest}))
    values = {"method": resolve_method("classification", method), "dataset": dataset, "labels": LABELS}
    return replace(spec, **{**values, "trained_before": before, **changes})


def _learnt(spec: TrainingSpec) -> set[str]:
    lines = (spec.work_dir / "rows.log").read_text().splitlines()
    return {row for line in lines for row in json.loads(line)["rows"]}


def test_new_rows_and_the_asked_share_of_earlier_ones_are_learnt(tmp_path: Path) -> None:
    spec = _spec(tmp_path, 0.2)
    code, events = run(spec)
    assert code == EXIT_FINISHED
    learnt = _learnt(spec)
    assert {row["row_id"] for row in NEW} < learnt
    assert len(learnt) == 25
    assert len(learnt & {row["row_id"] for row in OLD}) == 5
    assert "20 rows that are new since dataset version 1, and on 5 of 40 earlier" in named(events, "log")[0]["message"]
    assert ModelCard.read(spec.output_dir).conditions["trained_before"] == f"dataset version 1, {'1' * 64}"


def test_the_draw_hangs_on_the_seed_and_both_datasets_alone(tmp_path: Path) -> None:
    def drawn(name: str, **changes: Any) -> set[str]:
        spec = _spec(tmp_path / name, 0.5, **changes)
        assert run(spec)[0] == EXIT_FINISHED
        return _learnt(spec)

    first = drawn("first")
    assert drawn("again") == first
    assert drawn("seed", seed=1) != first
    other = replace(_spec(tmp_path / "digest", 0.5).trained_before or TrainedBefore(1, "x", frozenset()), digest="2")
    assert drawn("digest", trained_before=other) != first


def test_without_replay_only_new_rows_are_learnt_and_a_large_share_takes_all_there_are(tmp_path: Path) -> None:
    alone, much = _spec(tmp_path / "alone", None), _spec(tmp_path / "much", 0.9)
    assert [run(spec)[0] for spec in (alone, much)] == [EXIT_FINISHED] * 2
    assert _learnt(alone) == {row["row_id"] for row in NEW}
    assert _learnt(much) == {row["row_id"] for row in OLD + NEW}


def test_a_run_with_replay_that_was_interrupted_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, cut = _spec(tmp_path / "whole", 0.3), _spec(tmp_path / "cut", 0.3)
    assert run(whole)[0] == EXIT_FINISHED
    assert run(cut, StopAfter(6))[0] == EXIT_DRAINED
    assert run(cut)[0] == EXIT_FINISHED
    assert weights_of(cut.output_dir) == weights_of(whole.output_dir)
    assert (cut.work_dir / "rows.log").read_bytes() == (whole.work_dir / "rows.log").read_bytes()


def test_no_new_row_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    held = [{**row, "split": "validation"} for row in NEW]
    code, events = run(_spec(tmp_path, 0.2, held))
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert failed["reason"] == "BAD_DATA"
    assert "no train row is new since dataset version 1" in failed["message"]


def test_the_identity_knows_the_earlier_dataset_version(tmp_path: Path) -> None:
    spec = _spec(tmp_path, 0.2)
    before = spec.trained_before
    assert before is not None
    others = [replace(spec, trained_before=None), replace(spec, trained_before=replace(before, digest="2" * 64))]
    assert len({one.identity("base") for one in (spec, *others)}) == 3
    assert TrainingSpec.from_json(spec.to_json()) == spec


def test_less_is_forgotten_with_replay_than_without(tmp_path: Path) -> None:
    """A model knows two labels; all new rows have a third."""
    first = make_spec(tmp_path, "classification", OLD, {"epochs": 12, "learning_rate": 3e-3}, labels=LABELS)
    assert run(first)[0] == EXIT_FINISHED
    assert _old_accuracy(first.output_dir) >= 0.9
    champion = Start(1, first.output_dir, ModelCard.read(first.output_dir).weights_digest)
    kept: dict[float | None, float] = {}
    for share in (None, 0.6):
        spec = _spec(tmp_path / str(share), share, base=first.base, start=champion)
        assert run(spec)[0] == EXIT_FINISHED
        kept[share] = _old_accuracy(spec.output_dir)
        assert _accuracy(spec.output_dir, NEW) >= 0.9
    assert kept[0.6] >= kept[None] + 0.1, kept


def _old_accuracy(folder: Path) -> float:
    return _accuracy(folder, OLD)


def _accuracy(folder: Path, rows: list[Row]) -> float:
    loaded = load_model(folder)
    shares = classify(loaded, [row["text"] for row in rows])
    guesses = [LABELS[max(range(3), key=one.__getitem__)] for one in shares]
    hits: list[bool] = [guess == row["label"] for guess, row in zip(guesses, rows, strict=True)]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("rows", ["all", None])
def test_replay_without_new_rows_is_refused(rows: str | None) -> None:
    given = {"replay": {"share": 0.2}} | ({"rows": rows} if rows else {})
    with pytest.raises(ValueError, match=r"method.replay: has an effect only with method.rows: new"):
        resolve_method("chat", given)
