"""`flywheel report` and `flywheel lineage`: what a version is worth, and where an answer came from."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, Html, connect
from shared.cli.output import console, print_json, seconds, table

if TYPE_CHECKING:
    from shared.client import FlywheelClient
    from shared.client.operations import LineageGraph, Report

Reported = Annotated[
    str, typer.Argument(metavar="MODEL|JOB", help="Name of a model, or id of a job: what its training was like.")
]
VersionArgument = Annotated[
    int, typer.Argument(metavar="[VERSION]", help="Model version; the newest judged one when absent.")
]
Target = Annotated[str, typer.Argument(metavar="REQUEST|MODEL", help="Request id of an answer, or name of a model.")]
JOB_ID = re.compile("job-[0-9a-f]{20}")
Version = Annotated[int, typer.Option("--version", help="Model version; the champion when absent.")]


def report(
    target: Reported, version: VersionArgument = 0, html: Html = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Show an evaluation report: scores before and after, and the gate's reasons. Of a job, the training report."""
    if JOB_ID.fullmatch(target):
        return report_training(target, html, home, as_json)
    with connect(home) as client:
        found = client.report(target, version)
        if html:
            from shared.report.evaluation import write_evaluation_page

            judged = client.model_version(found.model, found.version)
            write_evaluation_page(html, found, list(client.watch(judged.job)) if judged.job else [])
    if as_json:
        return print_json(found)
    show_report(found)
    return console().print(f"\npage written to {html}") if html else None


def report_training(job_id: str, html: Path | None, home: Path | None, as_json: bool) -> None:
    """What the training of a job was like. Raises FailedPrecondition while it goes on, and NotFound."""
    from shared.errors import FailedPrecondition
    from shared.report.facts import facts

    with connect(home) as client:
        job = client.job(job_id)
        if not job.is_over:
            advice = f"flywheel watch {job.id} follows it, and so does TensorBoard in runs/{job.id} of the home folder"
            raise FailedPrecondition(f"job {job.id} is {job.state}: its report is written when it ends; {advice}")
        events = list(client.watch(job.id))
    if html:
        from shared.report.training import write_training_page

        write_training_page(html, job, events)
    if as_json:
        return print_json({"job": job, "report": next((one.detail for one in events if one.kind == "report"), None)})
    made = f", made v{job.model_version}" if job.model_version else ""
    console().print(f"{job.pipeline} {job.id}: {job.state}{made}{': ' + job.reason if job.reason else ''}\n")
    console().print(table(("", ""), facts(events)))
    return console().print(f"\npage written to {html}") if html else None


def lineage(target: Target, version: Version = 0, home: Home = None, as_json: AsJson = False) -> None:
    """Follow an answer or a model version back to its rows."""
    with connect(home) as client:
        graph = find_lineage(client, target, version)
    print_json(graph) if as_json else show_lineage(graph)


def find_lineage(client: "FlywheelClient", target: str, version: int = 0) -> "LineageGraph":
    """Of an answer when `target` is a request id, else of a model. Raises NotFound."""
    from shared.errors import NotFound

    if not version:
        try:
            return client.lineage(request_id=target)
        except NotFound:
            pass
    try:
        return client.lineage(model=target, version=version)
    except NotFound as error:
        raise NotFound(f"no answer and no model version {target!r}: {error.message}") from None


def show_report(report: "Report") -> None:
    """Scores side by side, then every rule of the gate."""
    verdict = "[bold green]pass[/]" if report.verdict == "pass" else "[bold red]fail[/]"
    console().print(
        f"{report.model} v{report.version}: {verdict} · {report.test_rows:,} test rows of dataset version "
        f"{report.dataset_version} · {seconds(report.took)}\n"
    )
    others = {}
    if report.champion_metrics:
        others[f"champion v{report.champion}#"] = report.champion_metrics
    if report.base_metrics:
        others["base#"] = report.base_metrics
    names = sorted({*report.metrics, *(name for other in others.values() for name in other)})
    rows = [(name, report.metrics.get(name), *(other.get(name) for other in others.values())) for name in names]
    console().print(table(("metric", f"v{report.version}#", *others), rows))
    console().print()
    for reason in report.reasons:
        said = f"[green]✓[/] {reason.message}" if reason.passed else f"[red]✗[/] {reason.code}: {reason.message}"
        console().print(said)


def show_lineage(graph: "LineageGraph") -> None:
    """One line a step, from the answer to the rows."""
    made, run = graph.model_version, graph.run
    if graph.request_id:
        console().print(f"answer          {graph.request_id}")
    digest = made.adapter_digest or made.weights_digest
    console().print(f"model version   {made.model} v{made.version} ({made.method} on {made.base}, {digest[:12]})")
    if made.started_from:
        console().print(f"begun with      {made.model} v{made.started_from}")
    console().print(f"report          {graph.report or '–'}")
    console().print(f"run             {run.id} (attempt {run.attempt} of job {graph.job.id}, {run.step} steps)")
    if graph.revisions:
        console().print(f"code            {', then '.join(graph.revisions)}")
    console().print(
        f"dataset version {graph.pipeline} {graph.dataset_version} "
        f"({graph.dataset_digest[:12]}, {graph.train_rows:,} rows trained on)"
    )
    for batch in graph.batches:
        console().print(f"rows            {batch.rows:,} from {batch.source} (batch {batch.id})")
