"""Training speed and memory against the textbook loop and transformers' Trainer, with the loss that came of it.

    .venv/bin/python -m benchmarks.training [--scenarios intents chat] [--rounds 3] [--quick] [--data FOLDER]

Contenders take turns, each in a process of its own, on the same rows, base model and settings; figures of a round are
compared with each other and the median over the rounds counts. Loading and judging are not timed. The textbook loop
sees all rows in the first round, for its accuracy, and fewer in the others. What a checkpoint costs is timed apart. `start`: seconds from
a job's row to its first step, on a platform, against the start of the Trainer's script. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.training.scenarios import Scenario, chat, intents
from benchmarks.training.starting import measure_starts
from shared.config import child_environment, load_settings

Figures = dict[str, Any]
AIMS = {
    "intents": {"textbook": 15.0, "trainer": 1.5},
    "chat": {"trainer": 1.5},
    "memory": 1.0,
    "checkpoint_share": 0.05,
    "start_seconds": 3.0,
}
"""Ratios of speed at least; of memory, of a minute that a checkpoint takes, and seconds of a start at most."""
MAKERS: dict[str, Callable[[Path, Path, int, int], Scenario]] = {"intents": intents, "chat": chat}
ROWS = {"intents": 2048, "chat": 240}
QUICK_ROWS = {"intents": 256, "chat": 24}
TEXTBOOK_ROWS = 96
"""Once its accuracy is known; times the epochs."""


def main() -> None:
    options = _options()
    found = {name: _measure(name, options) for name in options.scenarios}
    reached: dict[str, Any] = {name: _judge(name, result) for name, result in found.items()}
    if options.starts:
        found["start"] = _measure_starts(options)
        reached["start"] = found["start"]["start_seconds"] <= AIMS["start_seconds"]
    print(json.dumps({"benchmark": "training", **found, "aims": AIMS, "reached": reached, **_machine(options)}))


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)[name]
    bases = load_settings().cache_folder / "bases"
    scenario = MAKERS[name](options.data, bases, options.threads, rows)
    rounds: dict[str, list[Figures]] = {one: [] for one in ("ours", *AIMS[name])}  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as work:
        whole, part = Path(work) / "whole.json", Path(work) / "part.json"
        scenario.write(whole)
        scenario.first(TEXTBOOK_ROWS).write(part)
        for number in range(options.rounds):
            for contender, seen in rounds.items():
                seen.append(_run(contender, part if contender == "textbook" and number else whole))
                print(f"{name} {number} {contender} {_told(seen[-1])}", file=sys.stderr, flush=True)
    return _summary(rounds)


def _measure_starts(options: argparse.Namespace) -> dict[str, Any]:
    scenario = intents(options.data, load_settings().cache_folder / "bases", options.threads, ROWS["intents"])
    with tempfile.TemporaryDirectory() as work:
        small = scenario.first(TEXTBOOK_ROWS).write(Path(work) / "small.json")
        script = [_run("trainer", small)["to_first_step"] for _ in range(options.rounds)]
    return {**measure_starts(scenario, options.starts), "script_seconds": round(median(script), 3)}


def _run(contender: str, scenario: Path) -> Figures:
    command = [sys.executable, "-m", "benchmarks.training.contender", contender, str(scenario)]
    done = subprocess.run(command, env=child_environment(), check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures | {
        "rows_per_second": figures["rows"] / figures["seconds"],
        "tokens_per_second": figures["tokens"] / figures["seconds"],
    }


def _summary(rounds: dict[str, list[Figures]]) -> dict[str, Any]:
    mine = rounds["ours"]
    return {
        "contenders": {
            name: {
                "rows_per_second": round(median(one["rows_per_second"] for one in seen), 1),
                "tokens_per_second": round(median(one["tokens_per_second"] for one in seen), 1),
                "peak_mib": round(median(one["peak_mib"] for one in seen), 1),
                "scores": {key: round(value, 4) for key, value in seen[0]["scores"].items()},
            }
            for name, seen in rounds.items()
        },
        "speed": {
            name: round(median(_over(mine, seen, "tokens_per_second")), 2)
            for name, seen in rounds.items()
            if name != "ours"
        },
        "memory": {
            name: round(median(_over(mine, seen, "peak_mib")), 3) for name, seen in rounds.items() if name != "ours"
        },
        "checkpoint_share": round(median(one["checkpoint_seconds"] for one in mine) / 60, 4),
    }


def _over(mine: list[Figures], theirs: list[Figures], key: str) -> list[float]:
    return [one[key] / other[key] for one, other in zip(mine, theirs, strict=True)]


def _judge(name: str, result: dict[str, Any]) -> dict[str, bool]:
    aims: Any = AIMS
    return {
        **{f"speed over {one}": result["speed"][one] >= least for one, least in aims[name].items()},
        "memory": result["memory"]["trainer"] <= aims["memory"],
        "checkpoint_share": result["checkpoint_share"] <= aims["checkpoint_share"],
    }


def _told(figures: Figures) -> str:
    scores = ", ".join(f"{key} {value:.4f}" for key, value in figures["scores"].items())
    return (
        f"{figures['rows_per_second']:.1f} rows/s, {figures['tokens_per_second']:.0f} tokens/s, "
        f"{figures['peak_mib']:.0f} MiB, {scores}"
    )


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    return {"machine": {**describe_machine(), "threads": options.threads}}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="*", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few rows: minutes instead of half an hour")
    parser.add_argument("--rows", type=int, help="rows to train on, of each scenario")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument("--starts", type=int, default=5, help="jobs whose start is timed; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
