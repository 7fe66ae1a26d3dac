"""Where an answer came from: its lineage and timings, and how its version came and went."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.inference.answering.answers import Answer, AnswerLog
from services.inference.models.catalogue import AliasChange, Catalogue
from services.inference.models.lineage import CHAMPION


@dataclass(frozen=True)
class Explanation:
    """`history` are the moves of aliases to or from the version that answered, oldest first.

    `promoted_at` is when it last became champion before the answer, `replaced_at` when another took its place.
    """

    answer: Answer
    history: Sequence[AliasChange]
    promoted_at: datetime | None
    replaced_at: datetime | None


class Explaining:
    def __init__(self, answers: AnswerLog, catalogue: Catalogue) -> None:
        self._answers = answers
        self._catalogue = catalogue

    def explain(self, request_id: str) -> Explanation:
        """Raises NotFound for a request that was not answered in the last day."""
        answer = self._answers.find(request_id)
        version = answer.lineage.version
        history = self._catalogue.history(answer.lineage.model, version) if version else []
        moves = [one for one in history if one.alias == CHAMPION and one.from_version != one.to_version]
        before = [one for one in moves if one.to_version == version and one.changed_at <= answer.created_at]
        promoted = before[-1].changed_at if before else None
        away = (one.changed_at for one in moves if one.from_version == version)
        replaced = next((at for at in away if promoted is not None and at > promoted), None)
        return Explanation(answer, history, promoted, replaced)
