"""int8 weights against bfloat16 in our own service: speed of one request, and what it costs in perplexity."""

import math
from typing import Any

from benchmarks.contenders.contender import Contender
from benchmarks.prompts import Prompts
from benchmarks.scenarios.at_once import asks_for, compare_at_once
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.rpc.channel import open_channel

PIECES = 12
PIECE_TOKENS = 400
PATIENCE_SECONDS = 120


def compare_weights(int8: Contender, bfloat16: Contender, prompts: Prompts, rounds: int, model: str) -> dict[str, Any]:
    """Perplexity of pieces of the manual, from the log-probabilities of prompts that are sent back."""
    row = compare_at_once([int8, bfloat16], prompts, 1, rounds)
    perplexities = {}
    for one in (int8, bfloat16):
        with one.awake(asks_for(prompts, 1, seed=0)[1]):
            perplexities[one.name] = perplexity(one.address, model, prompts)
    change = perplexities[int8.name] / perplexities[bfloat16.name] - 1
    return {**row, "perplexity": perplexities, "perplexity_change": round(change, 5)}


def perplexity(address: str, model: str, prompts: Prompts) -> float:
    """Of the model behind the door, over all pieces' tokens but the first of each."""
    found: list[float] = []
    with open_channel(address) as channel:
        stub = InferenceStub(channel)
        for piece in prompts.pieces(PIECES, PIECE_TOKENS):
            found += _logprobs(stub, model, piece)
    assert len(found) == PIECES * (PIECE_TOKENS - 1), f"{len(found)} log-probabilities came back"
    return round(math.exp(-math.fsum(found) / len(found)), 4)


def _logprobs(stub: InferenceStub, model: str, piece: tuple[int, ...]) -> list[float]:
    request = pb.GenerateRequest(
        model=common_pb2.ModelRef(name=model, alias="base"),
        token_ids=pb.TokenIds(ids=piece),
        stopping=pb.Stopping(max_tokens=1, ignore_eos=True),
        logprobs=0,
        echo=True,
    )
    events = stub.Generate(request, timeout=PATIENCE_SECONDS)
    chunks = [event.chunk for event in events if event.HasField("chunk") and event.chunk.echo]
    return [one.logprob for chunk in chunks for one in chunk.logprobs if one.HasField("logprob")]
