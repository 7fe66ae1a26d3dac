"""Rows a second and peak memory of ingestion, through its gRPC door, for several sizes.

    python -m benchmarks.peers ingestion
    python -m benchmarks.ingestion --rows 10000 100000 1000000

Claims: a million short rows with exact and near copies found, personal data masked and statistics made are sealed in
three minutes on two cores, in under 1.5 GB, and time grows in line with the rows; without near copies and personal data
it is 40,000 rows a second; a thousand rows more are sealed in ten seconds, in a process that has just started.
Each size is sent as a JSON Lines file to a process of its own (embedded SQLite, local folder) until its dataset
version is sealed. In the same run, on the same files: `json.loads` and a set of hashes, `datasets` (map and unique),
and `datasketch` used plainly. The last line is one JSON object.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import BenchmarkFailed
from benchmarks.ingesting.rows import write_rows
from benchmarks.ingesting.service import WAYS, ingest
from benchmarks.machine import describe_machine
from benchmarks.peers.environments import python_of

MILLION = 1_000_000
MORE_ROWS = 1000
PEERS = ("datasets", "datasketch")
PEER = "ingestion"
AIMS = {"whole_seconds": 180, "whole_mib": 1536, "exact_rows_per_second": 40_000, "slope": 1.1, "more_seconds": 10}
"""At most, but for rows a second. The slope is that of the logarithms: 1 is in line with the rows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, MILLION])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    options = parser.parse_args()
    figures = [measure(rows, options.peers, last=rows == max(options.rows)) for rows in sorted(set(options.rows))]
    report(summary(figures))


def measure(rows: int, peers: Sequence[str], *, last: bool) -> dict[str, Any]:
    """Both ways, and what others do, for one size; with `last` also a thousand rows more."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        figures: dict[str, Any] = {"rows": rows, "copies": write_rows(file, rows).copies}
        figures["megabytes"] = round(file.stat().st_size / 1e6, 1)
        for way in WAYS:
            figures[way] = ingest(file, Path(folder) / way, way)
            told = figures[way]
            if told["leaks"] or told["accepted"] + told["duplicates"] + told["quarantined"] != rows:
                raise BenchmarkFailed(f"{way} lost or leaked rows: {told}")
        if last:
            more = Path(folder) / "more.jsonl"
            write_rows(more, MORE_ROWS, seed=8)
            figures["more"] = ingest(more, Path(folder) / "whole", "whole")
        figures["python"] = peer("python", file, folder)
        figures |= {name: peer(name, file, folder) for name in peers}
    report(figures)
    return figures


def peer(name: str, file: Path, folder: str) -> dict[str, Any]:
    """Raises BenchmarkFailed where it is not installed or fails."""
    python = sys.executable if name == "python" else str(python_of(PEER))
    command = [python, "-m", "benchmarks.peers.programs.deduplicating", name, str(file), str(Path(folder) / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkFailed(f"{name} failed: {done.stderr[-600:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def summary(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Slopes over all sizes, ratios at the largest, and which aims are met; times of a million rows are scaled."""
    largest = figures[-1]
    whole, exact = largest["whole"], largest["exact"]
    reached = {
        "whole_seconds": round(whole["sealed_seconds"] * MILLION / largest["rows"], 1),
        "whole_mib": whole["peak_mib"],
        "exact_rows_per_second": exact["rows_per_second"],
        "slope": slope([(one["rows"], one["whole"]["cpu_seconds"]) for one in figures]),
        "more_seconds": largest["more"]["sealed_seconds"],
    }
    met = {
        name: reached[name] >= aim if name == "exact_rows_per_second" else reached[name] <= aim
        for name, aim in AIMS.items()
    }
    ratios = {
        f"exact_against_{name}": round(largest[name]["seconds"] / exact["sealed_seconds"], 2)
        for name in ("python", "datasets")
        if name in largest
    }
    if "datasketch" in largest:
        ratios["whole_against_datasketch"] = round(largest["datasketch"]["seconds"] / whole["sealed_seconds"], 2)
    return {"figures": list(figures), "ratios": ratios, "reached": reached, "met": met, "machine": describe_machine()}


def slope(points: Sequence[tuple[int, float]]) -> float:
    """Of the straight line through the logarithms, by least squares; 1 for a single point."""
    if len(points) < 2:
        return 1.0
    xs, ys = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True))
    return round(above / sum((x - middle_x) ** 2 for x in xs), 3)


def report(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
