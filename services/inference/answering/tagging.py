"""Texts to entities."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.inference.answering.asking import Answered, Ask, Asking, Shadowed
from services.inference.answering.checks import check_tagged
from services.inference.answering.metering import metered
from services.inference.engine.batcher import Ticket
from services.inference.kinds.token_classification import Tagger
from shared.modeling.kinds.entities import Entity

METHOD = "TagTokens"
Entities = list[list[Entity]]


class Tagging:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def tag(self, ask: Ask, texts: Sequence[str], tokenised: Sequence[Sequence[str]]) -> Answered[Entities]:
        """Entities of each text, or of each text that comes cut into words."""
        with metered(METHOD) as meter:
            check_tagged(texts, tokenised)

            def submit(tagger: Tagger, deadline: float = ask.deadline) -> Ticket[Entities]:
                if tokenised:
                    return tagger.submit_words(tokenised, deadline)
                return tagger.submit(texts, deadline)

            def remember(found: Entities) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
                asked = list(texts) or [" ".join(words) for words in tokenised]
                return {"texts": asked}, {"entities": [[asdict(one) for one in entities] for entities in found]}

            return self._asking.ask(meter, ask, Tagger, submit, remember, Shadowed(submit, _same))


def _same(real: Entities, shadow: Entities) -> bool:
    """Whether two versions find the same entities in the same places."""

    def found(texts: Entities) -> list[list[tuple[str, int, int]]]:
        return [sorted((one.label, one.start, one.end) for one in entities) for entities in texts]

    return found(real) == found(shadow)
