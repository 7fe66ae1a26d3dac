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
from shared.modeling.kinds.token_classification import Entity, decode_entities

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class _Windows:
    """One text in windows that overlap, and the characters of its words."""

    pieces: Sequence[Pieces]
    spans: Spans


class Tagger(EncoderModel):
    """Tags every word of a text of any length; a long one is read in windows, each word where it has most company."""

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
        words: dict[int, tuple[int, Output]] = {}
        for window, rows in zip(text.pieces, logits, strict=True):
            for place, word in enumerate(window.word_ids):
                company = min(place, len(window) - 1 - place)
                if word is None or word_starts_before(window, place) or words.get(word, (-1,))[0] >= company:
                    continue
                words[word] = (company, rows[place])
        if not words:
            return []
        order = sorted(words)
        shares = probabilities(np.stack([words[word][1] for word in order]))
        return decode_entities(shares, order, text.spans, self.labels)

    def _of_text(self, text: str) -> _Windows:
        windows = self._texts.long_pieces(text)
        bounds: dict[int, tuple[int, int]] = {}
        for window in windows:
            for word, (start, end) in zip(window.word_ids, window.offsets, strict=True):
                if word is not None:
                    first, last = bounds.get(word, (start, end))
                    bounds[word] = (min(first, start), max(last, end))
        return _Windows(
            windows, [_trimmed(text, bounds.get(word, (0, 0))) for word in range(max(bounds, default=-1) + 1)]
        )

    def _of_words(self, words: Sequence[str]) -> _Windows:
        starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
        return _Windows(
            self._texts.long_pieces(words),
            [(start, start + len(word)) for start, word in zip(starts, words, strict=False)],
        )


def word_starts_before(window: Pieces, place: int) -> bool:
    """Whether the token is not the first piece of its word in this window."""
    return place > 0 and window.word_ids[place - 1] == window.word_ids[place]


def _trimmed(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Without the blank that some tokenizers count to the word after it."""
    start, end = span
    return start + len(text[start:end]) - len(text[start:end].lstrip()), end
