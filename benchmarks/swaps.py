"""Swaps, rollbacks and cancels under load, on tiny models: nothing failed, nothing mixed, nothing leaked.

    .venv/bin/python -m benchmarks.swaps [--swaps 100] [--rollbacks 20] [--cancels 10000] [--rounds 10]

The service runs in a process of its own. Streams and Classify calls go on without pause; in every round for a while
without swaps, then across some of them, so that a machine whose mood changes slows both. Every answer is checked
against what the version in its lineage says. Then a storm of cancelled streams, and what the server still holds after
it. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles

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
POLL_SECONDS = 0.05
Span = tuple[float, float]


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
    moves = _Moves(platform, options)
    calm, swapping = list[Span](), list[Span]()
    began = time.monotonic()
    with soak.running(options.streams, options.callers) as seen:
        for number in range(1, options.rounds + 1):
            time.sleep(SETTLE_SECONDS)
            calm.append(_span(lambda: time.sleep(options.calm_seconds / options.rounds)))
            swapping.append(_span(partial(moves.until, round(options.swaps * number / options.rounds))))
    found: dict[str, object] = {
        "swaps": moves.swaps,
        "rollbacks": len(moves.rollbacks),
        "answers": seen.answers,
        "failed": len(seen.failed),
        "mixed": len(seen.mixed),
        "rollback_seconds_max": round(max(moves.rollbacks, default=0.0), 3),
        "swap_seconds_median": round(median(moves.promotions), 3),
        "seconds": round(time.monotonic() - began, 1),
        "aim_p99_ratio": AIM_RATIO,
    }
    for model, name in ((CHAT, "generate"), (CLASSIFIER, "classify")):
        without, during = (
            _p99([one for span in spans for one in seen.between(model, *span)]) for spans in (calm, swapping)
        )
        found[f"{name}_p99_ms_without"] = round(without * 1e3, 1)
        found[f"{name}_p99_ms_during"] = round(during * 1e3, 1)
        found[f"{name}_p99_ratio"] = round(during / without, 2)
    return found


class _Moves:
    """Promotes one version after another; some are rolled back at once. Seconds of each."""

    def __init__(self, platform: Platform, options: argparse.Namespace) -> None:
        self.swaps = 0
        self.promotions: list[float] = []
        self.rollbacks: list[float] = []
        self._platform = platform
        self._options = options
        self._now = 1

    def until(self, swaps: int) -> None:
        """Goes on until there were so many promotions."""
        while self.swaps < swaps:
            self.swaps += 1
            before, self._now = self._now, self._now % VERSIONS + 1
            self.promotions.append(_move(self._platform, self._now, "promotion"))
            if len(self.rollbacks) < self._options.rollbacks * self.swaps / self._options.swaps:
                self.rollbacks.append(_move(self._platform, before, "rollback"))
                self._now = before
            time.sleep(self._options.pause_seconds)


def _span(act: Callable[[], None]) -> Span:
    """From when to when it ran."""
    began = time.monotonic()
    act()
    return began, time.monotonic()


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
        eventually(partial(platform.holds, model, version), interval=POLL_SECONDS)
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
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calm-seconds", type=float, default=50.0, help="without swaps, in all rounds together")
    parser.add_argument("--pause-seconds", type=float, default=1.0, help="between two swaps")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--callers", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
