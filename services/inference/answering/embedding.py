"""Texts to vectors, and scores of texts beside a query."""

from collections.abc import Sequence

from services.inference.answering.asking import Answered, Ask, Asking
from services.inference.answering.checks import MAX_SCORED, MAX_TEXTS, check_list, check_text
from services.inference.answering.metering import metered
from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Output
from services.inference.kinds.capabilities import Embeds, Scores
from shared.modeling.kinds.embedding import normalise


class Embedding:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def embed(self, ask: Ask, texts: Sequence[str], normalised: bool) -> Answered[list[Output]]:
        """One vector a text; at length 1 when `normalised`. What was answered is remembered without the vectors."""

        def submit(model: Embeds) -> Ticket[list[Output]]:
            ticket = model.submit_embedding(texts, ask.deadline)
            return ticket.then(lambda vectors: [normalise(one) for one in vectors]) if normalised else ticket

        with metered("Embed") as meter:
            check_list("texts", texts, MAX_TEXTS)
            return self._asking.ask(
                meter,
                ask,
                Embeds,  # type: ignore[type-abstract]
                submit,
                lambda found: ({"texts": list(texts)}, {"width": len(found[0])}),
            )

    def score(self, ask: Ask, query: str, candidates: Sequence[str]) -> Answered[list[float]]:
        """One score a candidate."""
        with metered("Score") as meter:
            check_text("query", query)
            check_list("candidates", candidates, MAX_SCORED)
            return self._asking.ask(
                meter,
                ask,
                Scores,  # type: ignore[type-abstract]
                lambda model: model.submit_scores(query, candidates, ask.deadline),
                lambda found: ({"query": query, "candidates": list(candidates)}, {"scores": found}),
            )
