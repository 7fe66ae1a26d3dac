"""TagTokens."""

from services.inference.answering.asking import Answered
from services.inference.answering.tagging import Entities
from services.inference.convert.common import lineage, timings
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.modeling.kinds.entities import Entity


def texts_of(request: pb.TagTokensRequest) -> list[str]:
    """What the characters of entities count in."""
    return list(request.texts) or [" ".join(words.words) for words in request.tokenised]


def tag_response(request: pb.TagTokensRequest, answer: Answered[Entities]) -> pb.TagTokensResponse:
    texts = texts_of(request)
    results = [
        pb.TaggedText(entities=[_entity(text, one) for one in found])
        for text, found in zip(texts, answer.result, strict=True)
    ]
    return pb.TagTokensResponse(
        results=results,
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
    )


def _entity(text: str, one: Entity) -> pb.Entity:
    return pb.Entity(label=one.label, text=text[one.start : one.end], start=one.start, end=one.end, score=one.score)
