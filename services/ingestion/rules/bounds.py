"""How long a row's texts may be."""

import re
from collections.abc import Sequence

from services.ingestion.rules.finding import Found, rejected
from shared.pipelines.cleaning import Bounds
from shared.rows import Reason

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
WORD = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")
"""A letter of a script without blanks, else a run of letters and digits."""


def words_in(text: str) -> int:
    """Words of a text; in scripts without blanks every character is one."""
    return len(WORD.findall(text))


class Bound:
    """Refuses rows that are too short or too long."""

    def __init__(self, rule: str, bounds: Bounds) -> None:
        self._rule, self._bounds = rule, bounds

    def judge(self, texts: Sequence[str]) -> Found | None:
        size = sum(map(len if self._rule == "characters" else words_in, texts))
        least, most = self._bounds.least, self._bounds.most
        if least is not None and size < least:
            return rejected(self._rule, Reason.TOO_SHORT, f"the row has {size} {self._rule}; the least is {least}")
        if most is not None and size > most:
            return rejected(self._rule, Reason.TOO_LONG, f"the row has {size} {self._rule}; the most is {most}")
        return None
