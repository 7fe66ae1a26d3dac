"""ExtractRelations."""

from services.inference.answering.asking import Answered
from services.inference.convert.common import lineage, timings
from services.inference.kinds.relation_extraction import MarkedText, Relation
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.modeling.kinds.markers import Direction

DIRECTIONS = {
    Direction.NONE: pb.RELATION_DIRECTION_UNSPECIFIED,
    Direction.HEAD_TO_TAIL: pb.RELATION_DIRECTION_HEAD_TO_TAIL,
    Direction.TAIL_TO_HEAD: pb.RELATION_DIRECTION_TAIL_TO_HEAD,
}


def marked_texts(request: pb.ExtractRelationsRequest) -> list[MarkedText]:
    return [
        MarkedText(one.text, (one.head.start, one.head.end), (one.tail.start, one.tail.end)) for one in request.texts
    ]


def relate_response(answer: Answered[list[Relation]]) -> pb.ExtractRelationsResponse:
    return pb.ExtractRelationsResponse(
        results=[
            pb.Relation(label=one.label, score=one.score, direction=DIRECTIONS[one.direction]) for one in answer.result
        ],
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
    )
