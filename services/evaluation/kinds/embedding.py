"""Judging vectors: each query looks for its texts among those of all test rows, by cosine."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.evaluation.frozen import Row
from services.evaluation.kinds.base import Step
from services.evaluation.kinds.choosing import Candidates, JudgedChoosing, Scores
from shared.modeling.kinds.choosing import Pool, rights_of
from shared.modeling.loading import LoadedModel
from shared.modeling.predict import embed
from shared.rows.base import loosened

TEXTS_AT_ONCE = 256
OTHERS = 1000
"""Texts of other rows that a query is judged against: all, or the first by their hashes."""
OWN = 20
"""Of a row's own negatives, so many are judged against."""


class JudgedEmbedding(JudgedChoosing):
    name = "embedding"
    drawn = f"the row's first {OWN} negatives and what is right for other test rows, {OTHERS} texts at most"

    @property
    def outputs_format(self) -> str:
        return f"embedding/1 own={OWN} others={OTHERS} temperature={self.options.temperature}"

    def candidates(self, rows: Sequence[Row]) -> list[Candidates]:
        rights = rights_of(rows)
        pool = Pool(text for row in rows for text in row["positives"]).texts[:OTHERS]
        pooled = set(pool)
        found = []
        for row in rows:
            right, others = rights[loosened(row["query"])], list(pool)
            for text in right & pooled:
                others.remove(text)
            own = [text for text in row["negatives"] if text not in right][:OWN]
            found.append(Candidates(row["query"], row["positives"], list(dict.fromkeys([*own, *others]))))
        return found

    def work(self, rows: Sequence[Row]) -> int:
        return len(_texts(self.candidates(rows)))

    def scores(self, loaded: LoadedModel, lists: Sequence[Candidates], step: Step) -> Iterator[tuple[Scores, Scores]]:
        texts = _texts(lists)
        parts = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            parts.append(embed(loaded, texts[start : start + TEXTS_AT_ONCE]))
            step(len(parts[-1]))
        vectors = np.concatenate(parts)
        place = {text: number for number, text in enumerate(texts)}
        for one in lists:
            query = vectors[place[one.query]]
            cosines = (
                vectors[[place[text] for text in chosen]].reshape(-1, len(query)) @ query
                for chosen in (one.right, one.wrong)
            )
            right, wrong = (found.astype(np.float64) / self.options.temperature for found in cosines)
            yield right, wrong


def _texts(lists: Sequence[Candidates]) -> list[str]:
    """Each once, texts of like length together."""
    texts = {text for one in lists for text in (one.query, *one.right, *one.wrong)}
    return sorted(texts, key=lambda text: (len(text), text))
