"""Texts that say one thing over and over: a few characters, or lines."""

import re
from collections.abc import Sequence

from services.ingestion.rules.finding import Found, judged
from shared.pipelines.cleaning import Judgement
from shared.rows import Reason

TIMES = 12
"""A unit of up to four characters so often in a row."""
UNIT = re.compile(rf"([^\s.\-_=*#~]{{1,4}}?)\1{{{TIMES - 1},}}")
"""Not of what rules and dots are drawn with."""
LEAST_LINES = 5
SAME_LINES = 0.3
"""Share of lines that were there before, as in the rules for MassiveText (Rae et al., 2021)."""


class Repetition:
    """Flags or refuses rows that have such a text."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement

    def judge(self, texts: Sequence[str]) -> Found | None:
        for text in texts:
            what = _repeated(text)
            if what:
                return judged(self._judgement, "repetition", Reason.REPEATED, f"{what} are the same over and over")
        return None


def _repeated(text: str) -> str:
    if len(text) >= TIMES and UNIT.search(text):
        return "characters"
    lines = [line.strip() for line in text.splitlines() if line.strip()] if "\n" in text else []
    if len(lines) >= LEAST_LINES and 1 - len(set(lines)) / len(lines) > SAME_LINES:
        return "lines"
    return ""
