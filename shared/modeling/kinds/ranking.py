"""Ranking: how well texts fit a query, by a cross-encoder."""

from collections.abc import Iterator, Sequence

from shared.modeling.kinds.base import Row
from shared.modeling.kinds.choosing import Pool, rights_of
from shared.modeling.kinds.pairs import Choice, CrossEncoder
from shared.rows.base import loosened


class Ranking(CrossEncoder):
    """Rows have `query`, `positives` and `negatives`; each positive is told apart from the row's first
    `options.negatives` negatives. A row without any gets as many positives of other rows, drawn once by its id, that
    are right for no row of the same query. A row that nothing can be told apart from gives no example.
    """

    name = "ranking"
    columns = ("query", "positives", "negatives")
    metrics = ("loss", "recall_at_1", "mrr")
    first = "recall_at_1"

    def choices(self, rows: Sequence[Row]) -> Iterator[Choice]:
        rights, pool = rights_of(rows), Pool(text for row in rows for text in row["positives"])
        for row in rows:
            right = rights[loosened(row["query"])]
            wrong = [text for text in row["negatives"] if text not in right][: self.options.negatives]
            wrong = wrong or pool.draw(row["row_id"], max(self.options.negatives, 1), right)
            for positive in row["positives"] if wrong else ():
                yield Choice(row["row_id"], row["query"], positive, wrong)
