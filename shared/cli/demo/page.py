"""home/demo/report.html: data, training curves, scores before and after, gate reasons, the swap."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from shared.cli.demo.record import PipelineRecord, Record
from shared.report import plots
from shared.report.curves import training_curves
from shared.report.evaluation import scores_plot
from shared.report.page import write_page


def write_demo_page(record: Record) -> Path:
    """Writes the page of what was told so far, and returns where."""
    return write_page(
        record.home / "demo" / "report.html",
        "demo.html",
        title="One turn of the flywheel",
        summary=record.as_json(),
        batches=record.batches,
        swap=_swap(record),
        versions=[version for pipeline in record.pipelines.values() for version in _versions(pipeline)],
        conversation=record.conversation,
    )


def _versions(pipeline: PipelineRecord) -> list[dict[str, Any]]:
    turns = sorted([*pipeline.served, *pipeline.refused], key=lambda one: one.turn.job.model_version)
    return [
        {
            "name": f"{pipeline.name} v{one.turn.job.model_version}",
            "report": one.turn.report,
            "dataset": one.dataset,
            "scores": scores_plot(one.turn.report),
            "curves": training_curves(one.turn.events),
        }
        for one in turns
    ]


def _swap(record: Record) -> Markup | None:
    """Latency of the client's requests over time, in the colour of the version that answered."""
    samples = [sample for pipeline in record.pipelines.values() for sample in pipeline.samples]
    if not samples:
        return None
    begin = samples[0].sent_at
    series: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        name = f"v{sample.version}" if sample.version >= 0 else "failed"
        series.setdefault(name, []).append((sample.sent_at - begin, sample.seconds * 1000))
    marks = {
        f"v{served.deployment.version} ready": served.deployment.ready_at.timestamp() - begin
        for pipeline in record.pipelines.values()
        for served in pipeline.served
        if pipeline.samples and served.deployment and served.deployment.ready_at
    }
    return Markup(
        plots.timeline(series, {k: v for k, v in marks.items() if v > 0}, "seconds", "milliseconds a request")
    )
