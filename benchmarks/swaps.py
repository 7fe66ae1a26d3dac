"""Swaps, rollbacks and cancels under load, on tiny models: nothing failed, nothing mixed, nothing leaked.

    .venv/bin/python -m benchmarks.swaps [--swaps 100] [--rollbacks 20] [--cancels 10000]

The service runs in a process of its own. Streams and Classify calls go on without pause: first for a while without
swaps, then across all of them; every answer is checked against what the version in its lineage says. Then a storm of
cancelled streams, and what the server still holds after it. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles

from benchmarks.machine import describe_machine
from shared.config import child_environment
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.migrate import migrate
from tests.integration.inference.platform import Platform
from tests.support.soak import CHAT, CLASSIFIER, Soak, cancel_storm
from tests.support.wait import eventually

VERSIONS = 3
AIM_RATIO = 1.3
SETTLE_SECONDS = 2.0


def main() -> None:
    options = _options()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder, _platform(Path(folder)) as (platform, pid):
        swaps = _swaps(platform, options)
        print(swaps, file=sys.stderr)
        storm = _storm(platform, pid, options.cancels)
    print(json.dumps({"benchmark": "swaps", **swaps, **storm, "machine": describe_machine()}))


def _swaps(platform: Platform, options: argparse.Namespace) -> dict[str, object]:
    soak = Soak(platform.inference, VERSIONS)
    rollbacks: list[float] = []
    with soak.running(options.streams, options.callers) as seen:
        time.sleep(SETTLE_SECONDS)
        began = time.monotonic()
        time.sleep(options.calm_seconds)
        calm = time.monotonic()
        now = 1
        for number in range(options.swaps):
            before, now = now, now % VERSIONS + 1
            _move(platform, now, "promotion")
            if len(rollbacks) < options.rollbacks * (number + 1) / options.swaps:
                rollbacks.append(_move(platform, before, "rollback"))
                now = before
            time.sleep(options.pause_seconds)
        end = time.monotonic()
    found: dict[str, object] = {
        "swaps": options.swaps,
        "rollbacks": len(rollbacks),
        "answers": seen.answers,
        "failed": len(seen.failed),
        "mixed": len(seen.mixed),
        "rollback_seconds_max": round(max(rollbacks, default=0.0), 3),
        "seconds": round(end - calm, 1),
        "aim_p99_ratio": AIM_RATIO,
    }
    for model, name in ((CHAT, "generate"), (CLASSIFIER, "classify")):
        without, during = (_p99(seen.between(model, *span)) for span in ((began, calm), (calm, end)))
        found[f"{name}_p99_ms_without"] = round(without * 1e3, 1)
        found[f"{name}_p99_ms_during"] = round(during * 1e3, 1)
        found[f"{name}_p99_ratio"] = round(during / without, 2)
    return found


def _storm(platform: Platform, pid: int, cancels: int) -> dict[str, object]:
    """Threads, memory and running requests of the server, before and after."""
    cancel_storm(platform.inference, max(cancels // 20, 1))
    eventually(lambda: _running(platform) == 0)
    before = _process(pid)
    cancel_storm(platform.inference, cancels)
    eventually(lambda: _running(platform) == 0)
    after = _process(pid)
    report = platform.serving.GetLoad(serving_pb2.GetLoadRequest(), timeout=5)
    return {
        "cancels": cancels,
        "running_after": report.running + report.waiting,
        "cache_used_after": report.cache_used_ratio,
        "threads_before": before["Threads"],
        "threads_after": after["Threads"],
        "memory_mib_before": round(before["VmRSS"] / 1024, 1),
        "memory_mib_after": round(after["VmRSS"] / 1024, 1),
    }


def _move(platform: Platform, version: int, kind: str) -> float:
    """Seconds until both models serve a version."""
    began = time.monotonic()
    for model in (CHAT, CLASSIFIER):
        platform.point(model, version, kind=kind)
    for model in (CHAT, CLASSIFIER):
        eventually(partial(platform.holds, model, version))
    return time.monotonic() - began


def _running(platform: Platform) -> int:
    report = platform.serving.GetLoad(serving_pb2.GetLoadRequest(), timeout=5)
    return int(report.running + report.waiting)


def _process(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    wanted = (line.split() for line in lines if line.startswith(("Threads:", "VmRSS:")))
    return {words[0].rstrip(":"): int(words[1]) for words in wanted}


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


@contextmanager
def _platform(folder: Path) -> Iterator[tuple[Platform, int]]:
    url = f"sqlite:///{folder / 'flywheel.db'}"
    migrate(url)
    platform = Platform(folder, Database(url))
    for model, kind in ((CHAT, "chat"), (CLASSIFIER, "classification")):
        platform.declare(model, kind)
        for seed in range(1, VERSIONS + 1):
            platform.add_version(model, kind, seed)
        platform.point(model, 1)
    settings = platform.settings
    environment = child_environment(
        home=folder,
        database_url=url,
        artifacts_url=settings.artifacts_url,
        weights="float32",
        threads=1,
        log_level="WARNING",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "services.inference"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        platform.connect(json.loads(process.stdout.readline())["address"])
        eventually(lambda: platform.holds(CHAT, 1) and platform.holds(CLASSIFIER, 1), timeout=60)
        yield platform, process.pid
    finally:
        process.terminate()
        process.wait()
        platform.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--rollbacks", type=int, default=20)
    parser.add_argument("--cancels", type=int, default=10_000)
    parser.add_argument("--calm-seconds", type=float, default=20.0)
    parser.add_argument("--pause-seconds", type=float, default=1.0, help="between two swaps")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--callers", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
