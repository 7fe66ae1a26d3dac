"""Following a job on a terminal, as lines, or as JSON."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.cli.output import console, plain, seconds

if TYPE_CHECKING:
    from rich.progress import Progress

    from shared.client import FlywheelClient
    from shared.client.operations import Job, JobEvent


HIDDEN = ("uri", "digest", "level", "options")
"""`--json` has them."""


def follow(client: "FlywheelClient", job: str, as_json: bool) -> "Job":
    """Shows a job's events until it is over; returns how it ended."""
    last = client.job(job)
    if as_json:
        show = _as_json
    elif sys.stdout.isatty():
        show = _as_bar
    else:
        show = _as_lines
    for event in show(client.watch(job), last):
        last = event.job
    last = client.job(job)
    if not as_json:
        made = f", made v{last.model_version}" if last.model_version else ""
        console().print(f"job {last.id} {last.state}{made}{': ' + last.reason if last.reason else ''}")
    return last


def training_progress(transient: bool = False) -> "Progress":
    """Bar, steps, loss, rate, time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        console=console(),
        transient=transient,
        disable=not console().is_terminal,
    )


def facts_of(job: "Job") -> str:
    """`loss 0.6123 · 3,100 tok/s · 12 s left`."""
    found = []
    if job.loss is not None:
        found.append(f"loss {job.loss:.4f}")
    if job.tokens_per_second:
        found.append(f"{job.tokens_per_second:,.0f} tok/s")
    if job.eta is not None and not job.is_over:
        found.append(f"{seconds(job.eta)} left")
    return " · ".join(found)


def _as_bar(events: Iterator["JobEvent"], job: "Job") -> Iterator["JobEvent"]:
    with training_progress() as progress:
        bar = progress.add_task(job.state, total=job.total_steps or None, completed=job.step, facts=facts_of(job))
        for event in events:
            now = event.job
            progress.update(
                bar, description=now.state, total=now.total_steps or None, completed=now.step, facts=facts_of(now)
            )
            if event.kind not in ("progress", "state"):
                progress.console.print(f"[dim]{event.kind}[/] {_detail(event)}")
            yield event


def _as_lines(events: Iterator["JobEvent"], job: "Job") -> Iterator["JobEvent"]:
    for event in events:
        console().print(f"{event.created_at:%H:%M:%S} {event.kind:<10} {_line(event)}")
        yield event


def _as_json(events: Iterator["JobEvent"], job: "Job") -> Iterator["JobEvent"]:
    for event in events:
        sys.stdout.write(json.dumps(plain(event), ensure_ascii=False) + "\n")
        sys.stdout.flush()
        yield event


def _line(event: "JobEvent") -> str:
    """Progress as it was at the event; the job that comes with it is as it is now."""
    detail = event.detail
    if event.kind != "progress":
        return _detail(event)
    facts = [f"{detail.get('step', 0):.0f}/{detail.get('total_steps', 0):.0f}"]
    if "loss" in detail:
        facts.append(f"loss {detail['loss']:.4f}")
    if detail.get("tokens_per_second"):
        facts.append(f"{detail['tokens_per_second']:,.0f} tok/s")
    if detail.get("eta_seconds") is not None:
        facts.append(f"{seconds(detail['eta_seconds'])} left")
    return " · ".join(facts)


def _detail(event: "JobEvent") -> str:
    if event.kind == "report":
        return f"flywheel report {event.job.id} shows it"
    told = {key: value for key, value in sorted(event.detail.items()) if key not in HIDDEN and value not in ("", None)}
    message = [str(told.pop("message"))] if "message" in told else []
    return " ".join([*message, *(f"{key}={_short(value)}" for key, value in told.items())])


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(item)}" for key, item in value.items()) + "}"
    return str(value)
