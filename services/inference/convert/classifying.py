"""Classify and Tokenize."""

from collections.abc import Sequence

from services.inference.answering.classifying import ClassifyAnswer
from services.inference.convert.common import lineage, timings
from services.inference.engine.attribution import Piece
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb


def pairs(request: pb.ClassifyRequest) -> list[tuple[str, str]]:
    return [(pair.text, pair.text_pair) for pair in request.pairs]


def classify_response(answer: ClassifyAnswer) -> pb.ClassifyResponse:
    results = [
        pb.Classification(
            labels=[pb.LabelScore(label=label, score=score, given=label in given) for label, score in result]
        )
        for result, given in zip(answer.results, answer.given, strict=True)
    ]
    for result, pieces in zip(results, answer.attributions, strict=False):
        result.attributions.extend(_attribution(piece) for piece in pieces)
    return pb.ClassifyResponse(
        results=results,
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
    )


def tokenize_response(results: Sequence[tuple[list[int], list[str]]]) -> pb.TokenizeResponse:
    return pb.TokenizeResponse(results=[pb.Tokenized(ids=ids, pieces=pieces) for ids, pieces in results])


def _attribution(piece: Piece) -> pb.Attribution:
    return pb.Attribution(text=piece.text, start=piece.start, end=piece.end, score=piece.score, in_pair=piece.in_pair)
