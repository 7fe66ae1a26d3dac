"""The relation between two spans of a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.base import Resources
from services.inference.kinds.classification import probabilities
from services.inference.kinds.encoders import EncoderModel
from shared.errors import InvalidArgument
from shared.modeling.kinds.relation_extraction import Direction, Span, mark, merge_directions
from shared.modeling.loading import LoadedModel


@dataclass(frozen=True)
class MarkedText:
    text: str
    head: Span
    tail: Span


@dataclass(frozen=True)
class Relation:
    label: str
    score: float
    direction: Direction


class RelationExtractor(EncoderModel):
    """Puts markers around both spans. Of a text that is too long, the part around them is read."""

    kind = "relation_extraction"

    def __init__(self, loaded: LoadedModel, resources: Resources) -> None:
        super().__init__(loaded, resources)
        self._directed = merge_directions(self.labels)

    def submit(self, texts: Sequence[MarkedText], deadline: float | None) -> Ticket[list[Relation]]:
        """Raises InvalidArgument when two spans are too far apart to be read together."""
        marked = [self._fitted(text, f"texts[{position}]") for position, text in enumerate(texts)]
        return self._batcher.submit(self._texts.texts(marked), deadline).then(self._decode)

    def _decode(self, rows: list[Output]) -> list[Relation]:
        found = []
        for row in probabilities(np.stack(rows)):
            best = int(row.argmax())
            label, direction = self._directed[best]
            found.append(Relation(label, float(row[best]), direction))
        return found

    def _fitted(self, text: MarkedText, where: str) -> str:
        """The marked text, shortened on both sides until it fits."""
        whole = mark(text.text, text.head, text.tail)
        spare = self._texts.max_length - self._texts.count(whole)
        if spare >= 0:
            return whole
        first, last = min(text.head[0], text.tail[0]), max(text.head[1], text.tail[1])
        core = _part(text, first, last)
        room = self._texts.max_length - self._texts.count(core)
        if room < 0:
            raise InvalidArgument(
                f"{where}: head and tail are too far apart; with what is between them they have "
                f"{self._texts.max_length - room} tokens, the model reads {self._texts.max_length}",
                field=where,
            )
        before = self._texts.last_characters(text.text[:first], room // 2)
        after = self._texts.first_characters(text.text[last:], room - room // 2)
        return _part(text, first - before, last + after)


def _part(text: MarkedText, start: int, end: int) -> str:
    head, tail = ((span[0] - start, span[1] - start) for span in (text.head, text.tail))
    return mark(text.text[start:end], head, tail)
