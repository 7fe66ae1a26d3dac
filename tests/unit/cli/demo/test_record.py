"""What the demo leaves: summary.json, the table, the page."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.cli import output
from shared.cli.demo.following import Turn
from shared.cli.demo.page import write_demo_page
from shared.cli.demo.record import PipelineRecord, Record, Served
from shared.cli.demo.summary import show_summary
from shared.cli.demo.traffic import Sample
from shared.client.answers import Deployment, Lineage
from shared.client.data import Batch, DatasetVersion, SplitCounts
from shared.client.operations import GateReason, Job, JobEvent, Report

BEGAN = datetime(2026, 1, 2, 10, 0, 0, tzinfo=UTC)
KEYS = {
    "versions",
    "champion_before",
    "champion_after",
    "metric_before",
    "metric_after",
    "refused",
    "requests",
    "failed_requests",
    "swap_seconds",
    "sealed_to_serving_seconds",
    "compute_seconds",
}


def served(version: int, accuracy: float, before: dict[str, float], verdict: str = "pass") -> Served:
    began, ended = BEGAN + timedelta(seconds=1), BEGAN + timedelta(seconds=11)
    job = Job(
        f"job-{version}",
        "sentiment",
        version,
        "succeeded",
        "",
        1,
        3,
        "new_rows",
        9,
        9,
        0.5,
        1.0,
        None,
        version,
        BEGAN,
        began,
        ended,
    )
    reason = GateReason("WORSE_THAN_CHAMPION", verdict == "pass", f"accuracy {accuracy}")
    report = Report(
        f"r-{version}",
        "sentiment",
        version,
        version - 1,
        version,
        300,
        "ab",
        {"accuracy": accuracy},
        before,
        {},
        {},
        verdict,
        (reason,),
        2.0,
        None,
    )
    events = [JobEvent(n, "progress", {"step": n, "loss": 1 / n}, BEGAN, job) for n in (1, 2, 3)]
    dataset = DatasetVersion(
        "sentiment", version, "sealed", "", SplitCounts(900, 100, 300), 1300, ("b",), "", {}, 0, BEGAN
    )
    made = Served(Turn(job, events, report), dataset)
    if verdict == "pass":
        lineage = Lineage("sentiment", version, "", "", "", version, "", "torch")
        ready = BEGAN + timedelta(seconds=15)
        made.deployment = Deployment("s", "sentiment", version, ("champion",), "ready", "", 0.8, ready, lineage)
    return made


@pytest.fixture
def record(tmp_path: Path) -> Record:
    record = Record(tmp_path)
    pipeline = record.pipelines["sentiment"] = PipelineRecord("sentiment", "accuracy")
    pipeline.served = [served(1, 0.71, {}), served(2, 0.76, {"accuracy": 0.71})]
    pipeline.refused = [served(3, 0.5, {"accuracy": 0.76}, "fail")]
    start = BEGAN.timestamp()
    pipeline.samples = [Sample(start, 0.01, 1), Sample(start + 1, 0.02, 2), Sample(start + 2, 0.02, -1)]
    pipeline.failures = ["it broke"]
    splits = SplitCounts(900, 100, 300)
    record.batches = [
        Batch("b", "sentiment", "k", "demo", "accepted", 1300, 1300, 0, 0, (), splits, 1, "", None, False)
    ]
    record.chapters = [("1 · one", 2.5)]
    record.conversation = {"question": "How <long>?", "base": "x", "champion": "y"}
    record.seconds = 400.0
    return record


def test_the_summary_has_every_key_and_the_right_numbers(record: Record) -> None:
    found: dict[str, Any] = json.loads(record.write().read_text())
    assert (found["seconds"], found["rows_ingested"], found["requests"], found["failed_requests"]) == (
        400.0,
        1300,
        3,
        1,
    )
    one = found["pipelines"]["sentiment"]
    assert set(one) >= KEYS
    assert (one["champion_before"], one["champion_after"]) == (1, 2)
    assert (one["metric_before"], one["metric_after"]) == (0.71, 0.76)
    assert one["refused"] == [{"version": 3, "reasons": ["accuracy 0.5"]}]
    assert [version["version"] for version in one["versions"]] == [1, 2, 3]
    assert (one["swap_seconds"], one["sealed_to_serving_seconds"], one["compute_seconds"]) == (0.8, 15.0, 36.0)
    assert one["versions_seen"] == [1, 2]


def test_the_summary_of_a_story_that_broke_off_can_be_written(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.pipelines["sentiment"] = PipelineRecord("sentiment", "accuracy")
    one = json.loads(record.write().read_text())["pipelines"]["sentiment"]
    assert (one["champion_after"], one["metric_after"], one["versions"]) == (None, None, [])


def test_the_page_shows_data_curves_scores_reasons_and_the_swap(record: Record) -> None:
    page = write_demo_page(record).read_text()
    assert page.count("<svg") == 1 + 3 * 2, "the swap; scores and curves of three versions"
    for text in ("sentiment v3", "WORSE_THAN_CHAMPION", "How &lt;long&gt;?", "1300", "Swap"):
        assert text in page


def test_the_table_fits_a_line_a_pipeline(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    output.console.cache_clear()
    show_summary(record)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("sentiment"))
    assert "v1 -> v2" in line
    assert "0.7600" in line
    output.console.cache_clear()
