"""Tags of words become entities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.rows.tags import OUTSIDE


@dataclass(frozen=True)
class Entity:
    """A labelled span, in characters; `score` is the mean probability of its words' tags."""

    label: str
    start: int
    end: int
    score: float


def decode_entities(
    probabilities: NDArray[np.float32],
    word_ids: Sequence[int | None],
    word_spans: Sequence[tuple[int, int]],
    tags: Sequence[str],
) -> list[Entity]:
    """Entities in the order of the text.

    `probabilities` is (tokens, tags); `word_ids` names each token's word (None for special tokens); `word_spans` are
    the words' characters. A word has the tag of its first piece. A `B-` opens an entity, an `I-` goes on with one of
    the same label and opens one otherwise (as CoNLL's conlleval reads it).
    """
    entities: list[Entity] = []
    open_label, start, end, scores = "", 0, 0, list[float]()

    def close() -> None:
        if open_label:
            entities.append(Entity(open_label, start, end, sum(scores) / len(scores)))

    for word, row in _first_pieces(probabilities, word_ids):
        best = int(row.argmax())
        opens, label = _split(tags[best])
        if label != open_label or opens:
            close()
            open_label, start, scores = label, word_spans[word][0], []
        end = word_spans[word][1]
        scores.append(float(row[best]))
    close()
    return entities


def _first_pieces(
    probabilities: NDArray[np.float32], word_ids: Sequence[int | None]
) -> list[tuple[int, NDArray[np.float32]]]:
    seen: set[int] = set()
    found = []
    for word, row in zip(word_ids, probabilities, strict=True):
        if word is not None and word not in seen:
            seen.add(word)
            found.append((word, row))
    return found


def _split(tag: str) -> tuple[bool, str]:
    """Whether the tag opens an entity, and its label ("" outside)."""
    if tag == OUTSIDE:
        return False, ""
    prefix, dash, label = tag.partition("-")
    return (prefix == "B", label) if dash and prefix in ("B", "I") else (False, tag)
