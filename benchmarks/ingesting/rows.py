"""Short rows as products send them: English and Chinese, some sent twice, some nearly, some with personal data."""

import json
import random
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

LABELS = ("negative", "neutral", "positive")
VOCABULARY = 5000
CHARACTERS = 2500
FIRST_CHARACTER = 0x4E00
CHINESE = 0.25
COPIES = 0.02
NEAR_COPIES = 0.05
PERSONAL = 0.02
RECENT = 1000
"""Copies are of one of so many rows before."""


class Written(NamedTuple):
    """Rows in a file, and how many of them are exact copies."""

    rows: int
    copies: int


def write_rows(file: Path, rows: int, seed: int = 7) -> Written:
    """JSON Lines of `text` (8 to 20 words or 16 to 40 characters, by Zipf's law) and `label`."""
    chance = random.Random(seed)
    words = [f"{chance.getrandbits(24):06x}"[: chance.randint(2, 6)] for _ in range(VOCABULARY)]
    letters = [chr(FIRST_CHARACTER + place) for place in range(CHARACTERS)]
    zipf = {size: list(accumulate(1 / rank for rank in range(1, size + 1))) for size in (VOCABULARY, CHARACTERS)}
    recent: list[tuple[str, str]] = []
    seen: set[tuple[str, str]] = set()
    with file.open("w", encoding="utf-8") as out:
        for number in range(rows):
            label = LABELS[number % 3]
            kind = chance.random()
            if recent and kind < COPIES:
                text, label = chance.choice(recent)
            elif recent and kind < COPIES + NEAR_COPIES:
                text = f"{chance.choice(recent)[0]}!"
            elif chance.random() < CHINESE:
                size = chance.randint(16, 40)
                text = "".join(chance.choices(letters, cum_weights=zipf[CHARACTERS], k=size)) + f"，{number}"
            else:
                size = chance.randint(8, 20)
                text = f"{' '.join(chance.choices(words, cum_weights=zipf[VOCABULARY], k=size))} {seed}{number}"
            if kind > 1 - PERSONAL:
                text += f" write to user{number}@example.com"
            seen.add((text, label))
            recent.append((text, label))
            del recent[:-RECENT]
            out.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
    return Written(rows, rows - len(seen))
