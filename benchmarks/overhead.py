"""What the service adds to a call: Classify on a model that computes nothing, against a bare gRPC echo, in one run.

    .venv/bin/python -m benchmarks.overhead [--calls 3000] [--requests 100000]

Both servers run in one process beside the client; calls alternate, one at a time, so that a busy machine slows both.
Then `--requests` Classify calls from eight threads, with the server's resident memory on the way: its slope over the
second half is given for 100,000 requests. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import Any

import grpc

from benchmarks.machine import describe_machine
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.rpc.channel import open_channel

ECHO = "/bench.Echo/Echo"
REQUEST = pb.ClassifyRequest(model=common_pb2.ModelRef(name="noop"), texts=["what a lovely morning it is today"])
THREADS = 8
SAMPLES = 40
WARM_UP = 300
AIM_MILLISECONDS = 1.0


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory() as folder,
        _server(Path(folder)) as (addresses, process),
        open_channel(addresses["inference"]) as inference,
        open_channel(addresses["echo"]) as bare,
    ):
        classify, echo = InferenceStub(inference).Classify, _echo(bare)
        _wait_for(classify)
        latency = _latencies(classify, echo, options.calls)
        print(latency, file=sys.stderr)
        memory = _memory(classify, process.pid, options.requests)
    print(
        json.dumps(
            {
                "benchmark": "overhead",
                **latency,
                "aim_added_p50_ms": AIM_MILLISECONDS,
                **memory,
                "machine": describe_machine(),
            }
        )
    )


def _latencies(classify: Callable[..., Any], echo: Callable[..., Any], calls: int) -> dict[str, float]:
    """Milliseconds of both, taking turns."""
    seconds: dict[str, list[float]] = {"classify": [], "echo": []}
    for number in range(WARM_UP + calls):
        for name, call in (("echo", echo), ("classify", classify)):
            began = time.perf_counter()
            call(REQUEST, timeout=30)
            if number >= WARM_UP:
                seconds[name].append(time.perf_counter() - began)
    found = {}
    for name, values in seconds.items():
        found[f"{name}_p50_ms"] = round(median(values) * 1e3, 3)
        found[f"{name}_p99_ms"] = round(quantiles(values, n=100)[98] * 1e3, 3)
    found["added_p50_ms"] = round(found["classify_p50_ms"] - found["echo_p50_ms"], 3)
    found["added_p99_ms"] = round(found["classify_p99_ms"] - found["echo_p99_ms"], 3)
    return found


def _memory(classify: Callable[..., Any], pid: int, requests: int) -> dict[str, float]:
    """Requests a second from eight threads, and how the server's memory grew with them."""
    part = max(requests // SAMPLES, THREADS)
    seen: list[tuple[int, float]] = []
    began = time.monotonic()

    def ask(count: int) -> None:
        for _ in range(count):
            classify(REQUEST, timeout=30)

    with ThreadPoolExecutor(THREADS) as clients:
        for number in range(1, SAMPLES + 1):
            list(clients.map(ask, [part // THREADS] * THREADS))
            seen.append((number * (part // THREADS) * THREADS, _resident_mib(pid)))
    seconds = time.monotonic() - began
    late = seen[len(seen) // 2 :]
    slope = linear_regression([count for count, _ in late], [mib for _, mib in late]).slope
    return {
        "requests": seen[-1][0],
        "requests_per_second": round(seen[-1][0] / seconds, 1),
        "memory_mib_first": round(seen[0][1], 1),
        "memory_mib_middle": round(late[0][1], 1),
        "memory_mib_last": round(seen[-1][1], 1),
        "slope_mib_per_100k": round(slope * 100_000, 2),
    }


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def _echo(channel: grpc.Channel) -> Callable[..., Any]:
    serialise, parse = pb.ClassifyRequest.SerializeToString, pb.ClassifyRequest.FromString
    return channel.unary_unary(ECHO, request_serializer=serialise, response_deserializer=parse)


def _wait_for(classify: Callable[..., Any]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            classify(REQUEST, timeout=5)
            return
        except grpc.RpcError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[dict[str, str], "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "benchmarks.noop_server", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()), process
    finally:
        process.terminate()
        process.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--requests", type=int, default=100_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
