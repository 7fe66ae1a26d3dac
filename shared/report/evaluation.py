"""The page of `flywheel report --html`."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from shared.client.operations import JobEvent, Report
from shared.report import detail, plots
from shared.report.page import write_page
from shared.report.training import training_of

MOST_CLASSES = 60
"""Of a confusion matrix that can still be read."""


def write_evaluation_page(path: Path, report: Report, events: Sequence[JobEvent]) -> Path:
    """Scores, gate, what the task kind has to show, and the training of one version."""
    return write_page(
        path,
        "evaluation.html",
        title=f"{report.model} v{report.version}",
        report=report,
        scores=scores_plot(report),
        confusion=confusion_plot(report),
        signatures=detail.signatures(report.detail),
        tables=detail.tables(report.detail),
        samples=detail.samples(report.detail),
        training=training_of(events),
    )


def scores_plot(report: Report) -> Markup:
    """Every metric on a scale of its own: the version, the champion and the base side by side."""
    sides = {f"v{report.version}": report.metrics}
    if report.champion_metrics:
        sides = {f"champion v{report.champion}": report.champion_metrics, **sides}
    if report.base_metrics:
        sides = {"base": report.base_metrics, **sides}
    pictures = []
    for metric in report.metrics:
        group = {name: metrics[metric] for name, metrics in sides.items() if metric in metrics}
        pictures.append(plots.bars({metric: group}, metric))
    return Markup("".join(pictures))


def confusion_plot(report: Report) -> Markup | None:
    """None for a kind without labels, and where there are too many of them to draw."""
    confusion = report.detail.get("confusion")
    if not confusion or len(confusion["labels"]) > MOST_CLASSES:
        return None
    return Markup(plots.matrix(confusion["matrix"], confusion["labels"]))
