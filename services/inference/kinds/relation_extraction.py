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
from shared.modeling.kinds.markers import Direction, Span, TooFarApart, mark_within, merge_directions
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
        self._special = self._texts.count("")

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
        most = self._texts.max_length - self._special
        try:
            return mark_within(text.text, text.head, text.tail, most, self._texts.spans)
        except TooFarApart as error:
            raise InvalidArgument(
                f"{where}: head and tail are too far apart; with what is between them they have "
                f"{error.tokens + self._special} tokens, the model reads {self._texts.max_length}",
                field=where,
            ) from None
