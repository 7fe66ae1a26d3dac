"""Control and invisible characters, blanks, and forms of the same character."""

import re
import unicodedata

BREAKS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
"""Controls that part words."""
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Controls, marks of direction, soft hyphens, blanks of no width, tags. Joiners stay: emoji and Persian need them."""
BLANKS = re.compile(r"[^\S\n]+")
LINE_END = re.compile(r" ?\n ?")
GAP = re.compile(r"\n{3,}")


def without_controls(text: str) -> str:
    """The text without characters that nobody sees; those that part words become blanks."""
    if text.isprintable():
        return text
    return UNSEEN.sub("", BREAKS.sub(" ", text))


def tidy(text: str) -> str:
    """Runs of blanks, of whatever width, become one space, runs of empty lines one; no blanks at the ends."""
    if "\n" not in text:
        return " ".join(text.split())
    return GAP.sub("\n\n", LINE_END.sub("\n", BLANKS.sub(" ", text))).strip()


def compatible(text: str) -> str:
    """Unicode's form NFKC: full-width letters, ligatures and the like become plain ones."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)
