"""Judging answer selection and ranking: models that read a query together with each candidate."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.evaluation.frozen import Row
from services.evaluation.kinds.base import Step
from services.evaluation.kinds.choosing import Candidates, JudgedChoosing, Scores
from shared.modeling.kinds.choosing import Pool, rights_of
from shared.modeling.loading import LoadedModel
from shared.modeling.predict import score_pairs
from shared.rows.base import loosened

LISTS_AT_ONCE = 16
OTHERS = 20
"""Wrong texts that a ranked row is judged against: its own first, then texts that are right for other rows."""


class JudgedPairs(JudgedChoosing):
    def work(self, rows: Sequence[Row]) -> int:
        return sum(len(one.right) + len(one.wrong) for one in self.candidates(rows))

    def scores(self, loaded: LoadedModel, lists: Sequence[Candidates], step: Step) -> Iterator[tuple[Scores, Scores]]:
        for start in range(0, len(lists), LISTS_AT_ONCE):
            chunk = lists[start : start + LISTS_AT_ONCE]
            pairs = [(one.query, text) for one in chunk for text in (*one.right, *one.wrong)]
            found = iter(score_pairs(loaded, pairs))
            for one in chunk:
                right, wrong = (np.array([next(found) for _ in texts]) for texts in (one.right, one.wrong))
                yield right, wrong
            step(len(pairs))


class JudgedAnswerSelection(JudgedPairs):
    name = "answer_selection"
    outputs_format = "answer_selection/1"
    drawn = "every candidate of the row"

    def candidates(self, rows: Sequence[Row]) -> list[Candidates]:
        found = []
        for row in rows:
            right = row["candidates"][row["answer"]]
            found.append(Candidates(row["question"], [right], [text for text in row["candidates"] if text != right]))
        return found


class JudgedRanking(JudgedPairs):
    name = "ranking"
    outputs_format = f"ranking/1 others={OTHERS}"
    drawn = f"the row's negatives and, up to {OTHERS}, texts that are right for other test rows, drawn by row id"

    def candidates(self, rows: Sequence[Row]) -> list[Candidates]:
        rights, pool = rights_of(rows), Pool(text for row in rows for text in row["positives"])
        found = []
        for row in rows:
            right = rights[loosened(row["query"])]
            own = [text for text in row["negatives"] if text not in right][:OTHERS]
            wrong = own + pool.draw(row["row_id"], OTHERS - len(own), right.union(own))
            found.append(Candidates(row["query"], row["positives"], wrong))
        return found
