"""Runs of label sets, answer selection, ranking and embedding: by any method, exact after a stop, clear on bad data."""

from pathlib import Path
from typing import Any

import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from shared.modeling.loading import load_model
from shared.modeling.predict import classify, embed, score_pairs
from shared.pipelines.options import Options
from tests.support.training_runs import WORDS, Row, StopAfter, make_spec, named, run, weights_of

MULTI = Options(multi_label=True)
OPTIONS = {"classification": MULTI}


def rows_of(kind: str, count: int, split: str = "train", start: int = 0) -> list[Row]:
    """Every sort of row: sets of 0 to 2 labels, pairs, with and without negatives."""
    rows: list[Row] = []
    for number in range(start, start + count):
        word, other = WORDS[number % len(WORDS)], WORDS[(number + 7) % len(WORDS)]
        row: Row = {"row_id": f"row-{number:03d}", "split": split}
        if kind == "classification":
            labels = ["even", "third"][: number % 3]
            row |= {"text": f"{word} {' '.join(labels)}", "label": None, "labels": labels}
            row["text_pair"] = other if number % 4 == 0 else None
        elif kind == "answer_selection":
            row |= {"question": word, "candidates": [other, f"the {word}", "neither"], "answer": 1}
        else:
            row |= {"query": word, "positives": [f"the {word}"], "negatives": [other] if number % 2 else []}
        rows.append(row)
    return rows


def spec_of(folder: Path, kind: str, rows: list[Row], **changes: Any) -> TrainingSpec:
    method = changes.pop("method", None)
    return make_spec(folder, kind, rows, method, options=OPTIONS.get(kind, Options()), **changes)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("classification", {"name": "full"}),
        ("classification", {"name": "lora"}),
        ("answer_selection", {"name": "full", "precision": "bfloat16"}),
        ("answer_selection", {"name": "lora"}),
        ("ranking", {"name": "full", "gradient_accumulation": 2}),
        ("ranking", {"name": "lora", "label_smoothing": 0.1}),
        ("embedding", {"name": "full", "precision": "bfloat16"}),
        ("embedding", {"name": "lora"}),
    ],
)
def test_a_stopped_run_continues_exactly_and_its_model_answers(
    tmp_path: Path, kind: str, method: dict[str, Any]
) -> None:
    rows = rows_of(kind, 16) + rows_of(kind, 4, "validation", 100)
    calm = spec_of(tmp_path, kind, rows, method=method, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    code, events = run(calm)
    assert code == EXIT_FINISHED, events[-1]
    metrics = named(events, "validation")[-1]["metrics"]
    assert all(value >= 0 for value in metrics.values())

    spec = spec_of(tmp_path, kind, rows, method=method)
    assert run(spec, StopAfter(1))[0] == EXIT_DRAINED
    assert run(spec)[0] == EXIT_FINISHED
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)

    loaded = load_model(spec.output_dir, base=Path(spec.base) if method["name"] == "lora" else None)
    if kind == "classification":
        assert loaded.card.labels == ("even", "third")
        assert loaded.card.options == {"multi_label": True, "threshold": 0.5}
        (first, second) = classify(loaded, ["door", ("door", "key")])
        assert len(first) == len(second) == 2
    elif kind == "embedding":
        assert embed(loaded, ["door", "key"]).shape == (2, 32)
    else:
        assert len(score_pairs(loaded, [("door", "key"), ("door", "the door")])) == 2


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("classification", {"labels": []}, "no label"),
        ("classification", {"labels": ["only"]}, "one class only"),
        ("ranking", {"positives": ["the same"], "negatives": []}, "nothing that could be learnt"),
        ("embedding", {"positives": ["the same"], "negatives": []}, "nothing that could be learnt"),
    ],
)
def test_rows_that_teach_nothing_fail_the_run_with_the_reason(
    tmp_path: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    rows = [{**row, **changes} for row in rows_of(kind, 8)]
    code, events = run(spec_of(tmp_path, kind, rows))
    assert (code, events[-1]["reason"]) == (EXIT_FAILED, "BAD_DATA")
    assert message in events[-1]["message"]


def test_a_declared_label_that_the_rows_lack_and_a_row_with_another_one_are_told_apart(tmp_path: Path) -> None:
    rows = rows_of("classification", 9)
    code, _ = run(spec_of(tmp_path / "more", "classification", rows, labels=("even", "third", "unseen")))
    assert code == EXIT_FINISHED
    code, events = run(spec_of(tmp_path / "fewer", "classification", rows, labels=("even", "odd")))
    assert (code, events[-1]["reason"]) == (EXIT_FAILED, "BAD_DATA")
    assert "label 'third'" in events[-1]["message"]


def test_texts_longer_than_the_model_are_cut_and_counted(tmp_path: Path) -> None:
    rows = rows_of("ranking", 8)
    rows[0]["query"] = "the quick brown fox " * 500
    rows[1]["positives"] = ["the lazy dog " * 500]
    code, events = run(spec_of(tmp_path, "ranking", rows))
    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["truncated"] > 0
