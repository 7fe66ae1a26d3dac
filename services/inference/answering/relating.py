"""Marked texts to relations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.inference.answering.asking import Answered, Ask, Asking, Shadowed
from services.inference.answering.checks import check_marked
from services.inference.answering.metering import metered
from services.inference.engine.batcher import Ticket
from services.inference.kinds.relation_extraction import MarkedText, Relation, RelationExtractor

METHOD = "ExtractRelations"


class Relating:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def relate(self, ask: Ask, texts: Sequence[MarkedText]) -> Answered[list[Relation]]:
        """The relation between the two spans of each text."""

        def remember(found: list[Relation]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            return {"texts": [asdict(one) for one in texts]}, {"relations": [asdict(one) for one in found]}

        def submit(model: RelationExtractor, deadline: float = ask.deadline) -> Ticket[list[Relation]]:
            return model.submit(texts, deadline)

        with metered(METHOD) as meter:
            check_marked(texts)
            return self._asking.ask(meter, ask, RelationExtractor, submit, remember, Shadowed(submit, _same))


def _same(real: list[Relation], shadow: list[Relation]) -> bool:
    """Whether two versions give every text the same relation, the same way round."""
    return [(one.label, one.direction) for one in real] == [(one.label, one.direction) for one in shadow]
