"""Vectors for texts, and by their angle scores."""

from collections.abc import Sequence

from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.capabilities import Scores
from services.inference.kinds.encoders import EncoderModel
from shared.modeling.kinds.embedding import cosines


class Embedder(EncoderModel, Scores):
    """An encoder without a head: of its own it gives vectors only."""

    kind = "embedding"

    def submit_scores(self, query: str, candidates: Sequence[str], deadline: float | None) -> Ticket[list[float]]:
        return self.submit_embedding([query, *candidates], deadline).then(_cosines)

    def probe(self) -> None:
        for texts in (["probe"], ["a somewhat longer probe"] * 8):
            self.submit_embedding(texts, None).wait()


def _cosines(vectors: list[Output]) -> list[float]:
    return cosines(vectors[0], vectors[1:])
