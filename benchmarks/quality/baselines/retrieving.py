"""Texts for a query by the words that they share.

BM25: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009), section 3.3, with the
inverse document frequency that Lucene uses, which is never negative.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

Scores = NDArray[np.float64]
K1 = 1.2
B = 0.75
WORD = r"(?u)[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+"
"""A word, or one Chinese character."""


class Bm25:
    """A collection of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = CountVectorizer(token_pattern=WORD)
        counts = self._words.fit_transform(texts).astype(float)
        lengths = np.asarray(counts.sum(1)).ravel()
        holding = np.asarray((counts > 0).sum(0)).ravel()
        idf = np.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        counts = counts.tocoo()
        norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))
        counts.data = counts.data * (K1 + 1) / (counts.data + norm[counts.row]) * idf[counts.col]
        self._weights = counts.tocsr()

    def scores(self, queries: Sequence[str]) -> Scores:
        """Queries x texts; higher is better."""
        asked = (self._words.transform(queries) > 0).astype(float)
        found: Scores = (asked @ self._weights.T).toarray()
        return found


class TfIdf:
    """A collection of texts, compared by the cosine of TF-IDF vectors."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
        self._texts = self._words.fit_transform(texts)

    def scores(self, queries: Sequence[str]) -> Scores:
        """Queries x texts, 0 to 1."""
        found: Scores = (self._words.transform(queries) @ self._texts.T).toarray()
        return found
