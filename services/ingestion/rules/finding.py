"""What a rule that judges says about a row."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from shared.pipelines.cleaning import Judgement
from shared.rows import Reason, RowError


class Found(NamedTuple):
    """`action` is flagged or rejected; `error` says why the row is not accepted."""

    rule: str
    action: str
    message: str
    error: RowError | None = None


class Judge(Protocol):
    """Looks at the texts of a row and changes none."""

    def judge(self, texts: Sequence[str]) -> Found | None: ...


def rejected(rule: str, reason: Reason, message: str) -> Found:
    return Found(rule, "rejected", message, RowError(reason, "", message))


def judged(judgement: Judgement, rule: str, reason: Reason, message: str) -> Found:
    """Flagged or rejected, as the pipeline says."""
    return rejected(rule, reason, message) if judgement == "reject" else Found(rule, "flagged", message)
