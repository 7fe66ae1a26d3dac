"""Embed and Score."""

from services.inference.answering.asking import Answered
from services.inference.convert.common import lineage, timings
from services.inference.engine.encoder import Output
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb


def embed_response(answer: Answered[list[Output]]) -> pb.EmbedResponse:
    return pb.EmbedResponse(
        vectors=[pb.Vector(values=vector.tolist()) for vector in answer.result],
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
    )


def score_response(answer: Answered[list[float]]) -> pb.ScoreResponse:
    return pb.ScoreResponse(
        scores=answer.result,
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
    )
