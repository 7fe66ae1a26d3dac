"""Marked texts to relations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.inference.answering.asking import Answered, Ask, Asking
from services.inference.answering.checks import check_marked
from services.inference.answering.metering import metered
from services.inference.kinds.relation_extraction import MarkedText, Relation, RelationExtractor

METHOD = "ExtractRelations"


class Relating:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def relate(self, ask: Ask, texts: Sequence[MarkedText]) -> Answered[list[Relation]]:
        """The relation between the two spans of each text."""

        def remember(found: list[Relation]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            return {"texts": [asdict(one) for one in texts]}, {"relations": [asdict(one) for one in found]}

        with metered(METHOD) as meter:
            check_marked(texts)
            return self._asking.ask(
                meter, ask, RelationExtractor, lambda model: model.submit(texts, ask.deadline), remember
            )
