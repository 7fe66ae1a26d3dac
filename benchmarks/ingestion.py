"""Rows a second and peak memory of ingestion, through its gRPC door, for several sizes.

    python -m benchmarks.ingestion --rows 10000 100000 1000000

Claim: time grows in line with the rows, memory does not. Each size is sent as a JSON Lines file to a process
of its own (embedded SQLite, local folder) until its dataset version is sealed. Baseline, in the same run, on the
same file: `json.loads` and a set of hashes in plain Python. The last line is one JSON object.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.machine import describe_machine
from shared.config import load_settings
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2_grpc
from shared.pipelines.schema import PipelineSpec
from shared.rpc.channel import open_channel
from shared.storage.database import Database
from shared.storage.repositories import pipelines
from shared.storage.tables import Base

LABELS = ("negative", "neutral", "positive")
SPEC = {"name": "bench", "kind": "classification", "labels": list(LABELS), "base": "none"}
PIECE_BYTES = 1 << 20
WORDS = 20
LINEAR = 1.5
"""CPU seconds a row at the largest size over those at the next smaller one stay below this; what else runs on the
machine stretches wall time by more."""
FLAT = 1.5
"""Peak memory at the largest size over that at the next smaller one stays below this."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--baseline", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
    elif options.baseline:
        report(baseline(options.baseline))
    else:
        report(summary([measure(rows) for rows in sorted(options.rows)]))


def measure(rows: int) -> dict[str, Any]:
    """Seconds, rows a second and peak MiB for one size."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        write_rows(file, rows)
        figures = {"rows": rows, "megabytes": round(file.stat().st_size / 1e6, 1), **ingest(file, Path(folder), rows)}
        plain = child("--baseline", str(file)).communicate()[0]
        figures["baseline"] = json.loads(plain.splitlines()[-1])
    print(json.dumps(figures), flush=True)
    return figures


def ingest(file: Path, home: Path, rows: int) -> dict[str, float]:
    """Sends the file to a fresh process and has it build the dataset version."""
    process = child("--serve", str(home))
    assert process.stdin
    assert process.stdout
    idle = json.loads(process.stdout.readline())
    channel = open_channel(idle["address"])
    begun = perf_counter()
    batch = ingestion_pb2_grpc.IngestionStub(channel).ImportFile(pieces(file), timeout=3600)
    received = perf_counter() - begun
    assert batch.accepted == rows, batch
    process.stdin.write("build\n")
    process.stdin.flush()
    process.stdout.readline()
    sealed = perf_counter() - begun
    channel.close()
    last = json.loads(process.communicate()[0].splitlines()[-1])
    return {
        "receive_seconds": round(received, 3),
        "sealed_seconds": round(sealed, 3),
        "rows_per_second": round(rows / sealed),
        "idle_mib": idle["peak_mib"],
        **last,
    }


def serve(home: Path) -> None:
    """The ingestion service without a broker: what a message would start, a line on standard input does."""
    from services.ingestion.rooms import Rooms
    from services.ingestion.servicer import serve as add_service
    from shared.rpc.server import Server
    from shared.telemetry.logs import configure_logs

    configure_logs("ingestion", level="ERROR")
    settings = load_settings(home=home)
    database = Database(settings.resolved_database_url)
    Base.metadata.create_all(database.engine)
    with database.write() as session:
        pipelines.save(session, PipelineSpec.model_validate(SPEC))
    rooms, server = Rooms(settings, database), Server("127.0.0.1:0")
    add_service(server, rooms, settings.max_row_bytes)
    server.start()
    report({"address": server.address, "peak_mib": peak_mib()})
    before = process_time()
    sys.stdin.readline()
    report({"version": rooms.builder.build("bench")})
    server.stop(1)
    report({"cpu_seconds": round(process_time() - before, 3), "peak_mib": peak_mib()})


def baseline(file: Path) -> dict[str, float]:
    """What plain Python needs to parse the rows and know the distinct ones."""
    idle, begun, seen, rows = peak_mib(), perf_counter(), set(), 0
    with file.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            seen.add(sha256(f"{row['label']}\0{row['text']}".encode()).digest())
            rows += 1
    seconds = perf_counter() - begun
    peak = peak_mib()
    return {"seconds": round(seconds, 3), "rows_per_second": round(rows / seconds), "idle_mib": idle, "peak_mib": peak}


def write_rows(file: Path, rows: int) -> None:
    chance = random.Random(7)
    words = [f"{chance.getrandbits(20):05x}" for _ in range(5000)]
    with file.open("w") as out:
        for number in range(rows):
            text = f"{number} " + " ".join(chance.choices(words, k=WORDS))
            out.write(json.dumps({"text": text, "label": LABELS[number % 3]}) + "\n")


def pieces(file: Path) -> Iterator[pb.ImportFileRequest]:
    header = pb.BatchHeader(pipeline="bench", batch_key=file.name, source="benchmark")
    yield pb.ImportFileRequest(header=header)
    with file.open("rb") as data:
        while piece := data.read(PIECE_BYTES):
            yield pb.ImportFileRequest(chunk=piece)


def summary(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios between the two largest sizes, and against the baseline at the largest."""
    smaller, largest = figures[-2:] if len(figures) > 1 else (figures[-1], figures[-1])
    growth = (largest["cpu_seconds"] / largest["rows"]) / (smaller["cpu_seconds"] / smaller["rows"])
    memory = largest["peak_mib"] / smaller["peak_mib"]
    ratios = {
        "cpu_seconds_per_row": round(growth, 3),
        "peak_memory": round(memory, 3),
        "baseline_seconds": round(largest["sealed_seconds"] / largest["baseline"]["seconds"], 2),
        "baseline_added_memory": round(added(largest) / added(largest["baseline"]), 2),
    }
    aims = {"linear_time": growth < LINEAR, "flat_memory": memory < FLAT}
    return {"figures": figures, "ratios": ratios, "aims": aims, "machine": describe_machine()}


def added(figures: dict[str, Any]) -> float:
    """MiB that the rows cost beyond the idle process."""
    return float(max(0.1, figures["peak_mib"] - figures["idle_mib"]))


def child(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.ingestion", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def peak_mib() -> float:
    """Of this process since its start (getrusage would count what its parent had before)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return round(int(peak.split()[1]) / 1024, 1)


def report(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
