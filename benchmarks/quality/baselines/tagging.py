"""Entities from a dictionary of the train rows, and tags from what a word looks like."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

from shared.rows.tags import OUTSIDE, tagged_spans, to_iob2

Row = Mapping[str, Any]
PAD = "<edge>"
NEIGHBOURS = (-2, -1, 0, 1, 2)


class Dictionary:
    """Entities that the train rows name, each with its commonest label; the longest that fits is taken."""

    def __init__(self, train: Sequence[Row]) -> None:
        counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        outside: Counter[str] = Counter()
        for row in train:
            for span in tagged_spans(row["tags"]):
                counts[tuple(row["tokens"][span.first : span.end])][span.label] += 1
            outside.update(token for token, tag in zip(row["tokens"], row["tags"], strict=True) if tag == OUTSIDE)
        # A single word that is mostly no entity ("May", "Will") would do more harm than good.
        self._labels = {
            words: found.most_common(1)[0][0]
            for words, found in counts.items()
            if len(words) > 1 or found.total() > outside[words[0]]
        }
        self._longest = max(map(len, self._labels), default=0)

    def tags(self, tokens: Sequence[str]) -> list[str]:
        """BIO tags of the tokens."""
        tags = [OUTSIDE] * len(tokens)
        at = 0
        while at < len(tokens):
            width = next((width for width in range(self._longest, 0, -1) if self._known(tokens, at, width)), 0)
            if width:
                label = self._labels[tuple(tokens[at : at + width])]
                tags[at : at + width] = [f"B-{label}", *[f"I-{label}"] * (width - 1)]
            at += width or 1
        return tags

    def _known(self, tokens: Sequence[str], at: int, width: int) -> bool:
        return at + width <= len(tokens) and tuple(tokens[at : at + width]) in self._labels


class WordTagger:
    """Logistic regression over the words around a token and their shapes, one token at a time."""

    def __init__(self, train: Sequence[Row]) -> None:
        self._hasher = FeatureHasher(n_features=2**20, input_type="string")
        features = [found for row in train for found in _features(row["tokens"])]
        self._model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=20, random_state=0)
        self._model.fit(self._hasher.transform(features), [tag for row in train for tag in row["tags"]])

    def tags(self, tokens: Sequence[str]) -> list[str]:
        """Tags of the tokens."""
        found = self._model.predict(self._hasher.transform(_features(tokens)))
        return to_iob2([str(tag) for tag in found])


def _features(tokens: Sequence[str]) -> list[list[str]]:
    padded = [PAD, PAD, *tokens, PAD, PAD]
    return [
        [f"{offset}:{part}" for offset in NEIGHBOURS for part in _looks(padded[at + 2 + offset])]
        for at in range(len(tokens))
    ]


def _looks(word: str) -> tuple[str, ...]:
    shape = "".join(
        "X" if letter.isupper() else "x" if letter.islower() else "9" if letter.isdigit() else letter
        for letter in word[:8]
    )
    return (f"word={word.lower()}", f"shape={shape}", f"end={word[-3:].lower()}", f"start={word[:2].lower()}")
