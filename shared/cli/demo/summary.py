"""The demo's last page in the terminal."""

from typing import Any

from shared.cli.demo.record import Record
from shared.cli.output import console, seconds, table


def show_summary(record: Record) -> None:
    found = record.as_json()
    rows = [_row(name, one) for name, one in found["pipelines"].items()]
    columns = (
        "pipeline",
        "versions",
        "champion",
        "metric",
        "before#",
        "after#",
        "refused",
        "requests#",
        "failed#",
        "swap#",
        "sealed to serving#",
        "compute#",
    )
    console().print(table(columns, rows))
    console().print(
        f"\n  {seconds(found['seconds'])} in all · {found['rows_ingested']:,} rows · "
        f"{found['requests']:,} requests, {found['failed_requests']} failed"
    )


def _row(name: str, one: dict[str, Any]) -> tuple[object, ...]:
    before = f"v{one['champion_before']}" if one["champion_before"] else "none"
    return (
        name,
        len(one["versions"]),
        f"{before} -> v{one['champion_after']}",
        one["metric"],
        one["metric_before"],
        one["metric_after"],
        ", ".join(f"v{refused['version']}" for refused in one["refused"]),
        one["requests"],
        str(one["failed_requests"]),
        seconds(one["swap_seconds"]),
        seconds(one["sealed_to_serving_seconds"]),
        seconds(one["compute_seconds"]),
    )
