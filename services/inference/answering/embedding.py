"""Texts to vectors, and scores of texts beside a query."""

from collections.abc import Sequence

from services.inference.answering.asking import Answered, Ask, Asking, Shadowed
from services.inference.answering.checks import MAX_SCORED, MAX_TEXTS, check_list, check_text
from services.inference.answering.metering import metered
from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.capabilities import Embeds, Scores
from shared.modeling.kinds.embedding import normalise

ALIKE = 0.99


class Embedding:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def embed(self, ask: Ask, texts: Sequence[str], normalised: bool) -> Answered[list[Output]]:
        """One vector a text; at length 1 when `normalised`. What was answered is remembered without the vectors."""

        def submit(model: Embeds, deadline: float = ask.deadline) -> Ticket[list[Output]]:
            ticket = model.submit_embedding(texts, deadline)
            return ticket.then(lambda vectors: [normalise(one) for one in vectors]) if normalised else ticket

        with metered("Embed") as meter:
            check_list("texts", texts, MAX_TEXTS)
            return self._asking.ask(
                meter,
                ask,
                Embeds,  # type: ignore[type-abstract]
                submit,
                lambda found: ({"texts": list(texts)}, {"width": len(found[0])}),
                Shadowed(submit, _point_alike),
            )

    def score(self, ask: Ask, query: str, candidates: Sequence[str]) -> Answered[list[float]]:
        """One score a candidate."""

        def submit(model: Scores, deadline: float = ask.deadline) -> Ticket[list[float]]:
            return model.submit_scores(query, candidates, deadline)

        with metered("Score") as meter:
            check_text("query", query)
            check_list("candidates", candidates, MAX_SCORED)
            return self._asking.ask(
                meter,
                ask,
                Scores,  # type: ignore[type-abstract]
                submit,
                lambda found: ({"query": query, "candidates": list(candidates)}, {"scores": found}),
                Shadowed(submit, _rank_alike),
            )


def _point_alike(real: list[Output], shadow: list[Output]) -> bool:
    """Whether two versions' vectors of every text have a cosine of at least 0.99."""
    pairs = zip(map(normalise, real), map(normalise, shadow), strict=True)
    return all(one.shape == other.shape and float(one @ other) >= ALIKE for one, other in pairs)


def _rank_alike(real: list[float], shadow: list[float]) -> bool:
    """Whether two versions find the same candidate the best."""
    return real.index(max(real)) == shadow.index(max(shadow))
