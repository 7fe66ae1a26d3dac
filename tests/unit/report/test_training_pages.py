"""What a job's training was like, as a page."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.client import operations as ops
from shared.report.curves import series_of
from shared.report.facts import facts
from shared.report.training import training_of, write_training_page

JOB = ops.Job("job-1", "sentiment", 3, "succeeded", "", 1, 3, "new_rows", 9, 9, 0.5, 10.0, None, 7, None, None, None)
HOSTILE = "<img src=x onerror=alert(1)> $\\frac{1}$ 你好"
REPORT: dict[str, Any] = {
    "base": "minilm",
    "settings": {"name": "full", "learning_rate": 2e-4, "epochs": 2.0, "class_weights": None},
    "data": {"rows": 1200.0, "tokens": 34567.0, "truncated": 3.0, "validation_rows": 100.0},
    "steps": 120.0,
    "seconds": 65.25,
    "metrics": {"loss": 0.41, "accuracy": 0.9, "perplexity": None},
    "memory_bytes": 1.5 * (1 << 30),
    "device_memory_bytes": 0.0,
    "curve": {
        "train/loss": [[1.0, 0.7], [120.0, 0.3]],
        "train/learning_rate": [[1.0, 1e-4], [120.0, 0.0]],
        "validation/loss": [[120.0, 0.41]],
        "validation/accuracy": [[60.0, None], [120.0, 0.9]],
    },
    "shown": [
        {
            "row_id": "ab" * 32,
            "columns": {"text": "fine film", "label": "good"},
            "before": {"loss": 0.69, "answer": "bad (0.50)"},
            "after": {"loss": None, "answer": "good (0.97)"},
        }
    ],
    "lost": [{"row_id": "cd" * 32, "loss": 4.2, "columns": {"text": HOSTILE, "label": HOSTILE}}],
    "looked_at": 100.0,
}


def event(kind: str, **detail: Any) -> ops.JobEvent:
    return ops.JobEvent(1, kind, detail, None, JOB)


def progress(*steps: int, factor: float = 1.0) -> list[ops.JobEvent]:
    return [event("progress", step=step, total_steps=9, loss=factor / step, learning_rate=0.1) for step in steps]


def page_of(tmp_path: Path, job: ops.Job, *events: ops.JobEvent) -> str:
    return write_training_page(tmp_path / "training.html", job, events).read_text()


def test_a_page_shows_data_curves_rows_before_and_after_and_the_most_lost(tmp_path: Path) -> None:
    page = page_of(tmp_path, JOB, event("log", total_steps=120, precision="bfloat16"), event("report", **REPORT))
    plain = re.sub(r"\s*<[^>]+>\s*", "|", page)
    for fact in ("train rows||1,200|", "time||65.2 s|", "memory at most||1.5 GiB|", "arithmetic||bfloat16|", "made v7"):
        assert fact in plain
    assert page.count("<svg") == 3, "loss, learning rate, accuracy"
    order = [plain.index(text) for text in ("|fine film|", "|bad (0.50)   (loss 0.6900)|", "|good (0.97)   (loss –)|")]
    assert order == sorted(order), "the row, before, after"
    assert "loss 4.2000" in plain
    assert "epochs||2|" in plain
    assert "device memory" not in plain


def test_text_from_rows_is_escaped_in_a_training_page(tmp_path: Path) -> None:
    hostile = {**REPORT, "base": HOSTILE, "settings": {HOSTILE: HOSTILE}, "curve": {f"train/{HOSTILE}": [[1, 2]]}}
    page = page_of(tmp_path, replace(JOB, reason=HOSTILE), event("report", **hostile))
    assert "<img" not in page
    assert page.count("&lt;img src=x") >= 6
    assert not re.search(r'(src|href)="http', page), "self-contained"


def test_a_job_that_failed_shows_how_far_it_came(tmp_path: Path) -> None:
    failed = replace(JOB, state="failed", reason="NOT_FINITE: loss nan", model_version=0)
    started = event("log", total_steps=9, start_step=0, rows=20, tokens=400, truncated=0, precision="float32")
    page = page_of(tmp_path, failed, started, *progress(1, 2, 3))
    assert "NOT_FINITE: loss nan" in page
    assert page.count("<svg") == 2, "loss and learning rate"
    assert "most lost" not in page
    assert facts([started])[:2] == [("train rows", "20"), ("tokens of one pass", "400")]


def test_a_job_that_never_trained_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path, replace(JOB, state="cancelled", model_version=0), event("state", state="cancelled"))
    assert "No step of it was ever taken" in page
    assert training_of([]) is None


def test_steps_taken_again_after_a_crash_are_in_the_curve_once() -> None:
    told = [*progress(1, 2, 3), event("validation", step=3, loss=9.0, metrics={"loss": 9.0})]
    again = [*progress(2, 3, 4, factor=5.0), event("validation", step=4, loss=2.0, metrics={"loss": 2.0})]
    series = series_of([*told, *again])
    assert series["train/loss"] == [(1, 1.0), (2, 2.5), (3, 5.0 / 3), (4, 1.25)]
    assert series["validation/loss"] == [(4, 2.0)]
