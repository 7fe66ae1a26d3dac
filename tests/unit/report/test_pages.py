"""Pages with plots."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.client import operations as ops
from shared.report import plots
from shared.report.evaluation import write_evaluation_page

JOB = ops.Job("job-1", "sentiment", 1, "succeeded", "", 1, 3, "new_rows", 9, 9, 0.5, 10.0, None, 1, None, None, None)


def report(**changed: Any) -> ops.Report:
    values: dict[str, Any] = {
        "id": "report-1",
        "model": "sentiment",
        "version": 2,
        "champion": 1,
        "dataset_version": 2,
        "test_rows": 300,
        "test_digest": "ab" * 32,
        "metrics": {"accuracy": 0.76, "loss": 0.6},
        "champion_metrics": {"accuracy": 0.71},
        "base_metrics": {},
        "detail": {"confusion": {"labels": ["negative", "positive"], "matrix": [[9, 1], [2, 8]]}},
        "verdict": "fail",
        "reasons": (ops.GateReason("BELOW_FLOOR", False, "<script>0.76</script>"),),
        "took": 3.0,
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return ops.Report(**{**values, **changed})


def event(step: int, kind: str = "progress") -> ops.JobEvent:
    return ops.JobEvent(step, kind, {"step": step, "loss": 1 / step}, None, JOB)


def test_a_page_shows_scores_gate_confusion_and_curves(tmp_path: Path) -> None:
    events = [*(event(step) for step in range(1, 9)), event(8, "validation")]
    path = write_evaluation_page(tmp_path / "new" / "report.html", report(), events)
    page = path.read_text()
    assert "0.7600" in page
    assert "0.7100" in page
    assert page.count("<svg") == 4, "two metrics, the confusion matrix, the curves"
    assert "&lt;script&gt;0.76" in page, "text is escaped"
    assert "<script" not in page
    assert not re.search(r'(src|href)="http', page), "self-contained"


def test_a_page_without_labels_and_events_has_neither_confusion_nor_curves(tmp_path: Path) -> None:
    page = write_evaluation_page(tmp_path / "report.html", report(detail={}), []).read_text()
    assert page.count("<svg") == 2
    assert "Training" not in page


def test_every_plot_is_one_svg() -> None:
    drawn = (
        plots.lines({"a": [(0, 1), (1, 2)]}, "x", "y"),
        plots.lines({}, "x", "y"),
        plots.bars({"m": {"before": 1.0, "after": 2.0}}, "y"),
        plots.matrix([[1, 2], [3, 4]], ["a", "b"]),
        plots.timeline({"v1": [(0, 1)]}, {"swap": 0.5}, "x", "y"),
    )
    for svg in drawn:
        assert svg.startswith("<svg")
        assert svg.count("</svg>") == 1


HOSTILE = "<img src=x onerror=alert(1)> $\\frac{1}$ 你好"


def shown(tmp_path: Path, **detail: Any) -> str:
    return write_evaluation_page(tmp_path / "report.html", report(detail=detail), []).read_text()


def test_a_page_shows_tables_samples_and_signatures_of_the_kind(tmp_path: Path) -> None:
    page = shown(
        tmp_path,
        tables=[
            {
                "title": "Per class",
                "columns": ["label", "f1", "rows"],
                "rows": [["PER", 0.51, 12.0], ["LOC", None, 1204.0]],
                "note": "strict",
            }
        ],
        samples=[{"row_id": "ab" * 32, "candidate": "Ann", "champion": None, "reference": "Ben", "context": "Ben sat"}],
        signatures={"f1": "seqeval 1.2.2"},
    )
    plain = re.sub(r"<[^>]+>", "|", page)
    assert "PER||0.5100||12|" in plain
    assert "LOC||–||1,204|" in plain
    assert "strict" in page
    assert "f1: seqeval 1.2.2" in page
    order = [plain.index(text) for text in ("|context|", "|reference|", "|before: champion|", "|this version|")]
    assert order == sorted(order), "inputs first, then the reference, before and after"


def test_text_from_rows_is_escaped_wherever_it_stands(tmp_path: Path) -> None:
    page = shown(
        tmp_path,
        tables=[{"title": HOSTILE, "columns": [HOSTILE, "n"], "rows": [[HOSTILE, 1]], "note": HOSTILE}],
        samples=[{"row_id": HOSTILE, HOSTILE: HOSTILE, "reference": HOSTILE, "candidate": HOSTILE}],
        signatures={HOSTILE: HOSTILE},
        confusion={"labels": [HOSTILE, "b"], "matrix": [[1, 0], [0, 1]]},
    )
    assert "<img" not in page
    assert page.count("&lt;img src=x") >= 9


def test_a_table_without_rows_is_a_heading_and_columns(tmp_path: Path) -> None:
    page = shown(tmp_path, tables=[{"title": "Empty", "columns": ["label", "rows"], "rows": []}])
    assert "<th>label</th><th>rows</th>" in page


def test_a_matrix_of_many_classes_is_drawn_larger_and_of_very_many_not_at_all(tmp_path: Path) -> None:
    def page(classes: int) -> str:
        labels = [f"intent {number}" for number in range(classes)]
        return shown(tmp_path, confusion={"labels": labels, "matrix": [[1] * classes] * classes})

    assert "intent 29" in page(30)
    assert "Confusion" not in page(200)
