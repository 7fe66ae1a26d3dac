"""Entities in texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding as Pieces

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.engine.tokenising import Encoding
from services.inference.kinds.classification import probabilities
from services.inference.kinds.encoders import EncoderModel
from shared.modeling.kinds.entities import Entity, decode_entities
from shared.modeling.kinds.windows import finer_words, word_places
from shared.rows.words import word_spans


@dataclass(frozen=True)
class _Windows:
    """One text in windows that overlap; of each word that is tagged, its number and its characters."""

    pieces: Sequence[Pieces]
    spans: dict[int, tuple[int, int]]


class Tagger(EncoderModel):
    """Tags every word of a text of any length; a long one is read in windows, each word where it has most company.

    Texts are cut into words as rows are, whatever the tokenizer would take for a word.
    """

    kind = "token_classification"

    def submit(self, texts: Sequence[str], deadline: float | None) -> Ticket[list[list[Entity]]]:
        return self._submit([self._of_text(text) for text in texts], deadline)

    def submit_words(self, texts: Sequence[Sequence[str]], deadline: float | None) -> Ticket[list[list[Entity]]]:
        """Of texts that come cut into words; characters count in the words joined by blanks."""
        return self._submit([self._of_words(words) for words in texts], deadline)

    def _submit(self, texts: Sequence[_Windows], deadline: float | None) -> Ticket[list[list[Entity]]]:
        def decode(rows: list[Output]) -> list[list[Entity]]:
            left = iter(rows)
            return [self._entities(text, [next(left) for _ in text.pieces]) for text in texts]

        flat: list[Encoding] = [self._texts.of(window) for text in texts for window in text.pieces]
        return self._batcher.submit(flat, deadline).then(decode)

    def _entities(self, text: _Windows, logits: Sequence[Output]) -> list[Entity]:
        places = {word: place for word, place in word_places(text.pieces).items() if word in text.spans}
        if not places:
            return []
        shares = probabilities(np.stack([logits[window][place] for window, place in places.values()]))
        spans = [text.spans[word] for word in places]
        return decode_entities(shares, range(len(spans)), spans, self.labels)

    def _of_text(self, text: str) -> _Windows:
        spans = word_spans(text)
        words = [text[start:end] for start, end in spans]
        return _Windows(self._texts.long_pieces(words), dict(enumerate(spans)))

    def _of_words(self, words: Sequence[str]) -> _Windows:
        parts, owners = finer_words(words)
        starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
        firsts = {word: part for part, word in reversed(list(enumerate(owners)))}
        spans = {part: (starts[word], starts[word] + len(words[word])) for word, part in firsts.items()}
        return _Windows(self._texts.long_pieces(parts), spans)
