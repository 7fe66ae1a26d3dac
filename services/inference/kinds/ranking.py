"""Scores for texts beside a query, by a cross-encoder."""

from collections.abc import Sequence

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.capabilities import Scores
from services.inference.kinds.encoders import EncoderModel
from shared.modeling.kinds.pairs import fit


class PairScorer(EncoderModel, Scores):
    """Reads query and candidate together."""

    def submit_scores(self, query: str, candidates: Sequence[str], deadline: float | None) -> Ticket[list[float]]:
        pairs = [(query, candidate) for candidate in candidates]
        return self._batcher.submit(self._texts.pairs(pairs), deadline).then(_fits)


class Ranker(PairScorer):
    kind = "ranking"


def _fits(rows: list[Output]) -> list[float]:
    return [fit(row) for row in rows]
