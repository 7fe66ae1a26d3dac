"""Baselines for relation extraction."""

import re
from typing import Any

from benchmarks.quality.baselines.choosing import Choice, choosers

WORD = re.compile(r"\w+")


def marked(row: Any) -> str:
    """The text with marks around head and tail."""
    places = [
        (row["head_start"], "<e1>"),
        (row["head_end"], "</e1>"),
        (row["tail_start"], "<e2>"),
        (row["tail_end"], "</e2>"),
    ]
    text = row["text"]
    for place, mark in sorted(places, reverse=True):
        text = text[:place] + mark + text[place:]
    return str(text)


def features(row: Any) -> str:
    """Words of the text, and once more, told apart from those, what stands in the two and between them."""
    text, head, tail = row["text"], (row["head_start"], row["head_end"]), (row["tail_start"], row["tail_end"])
    first, second = sorted((head, tail))
    order = "headfirst" if first == head else "tailfirst"
    parts = {"head": head, "tail": tail, "between": (first[1], second[0])}
    told = [f"{name}_{word}" for name, (start, end) in parts.items() for word in WORD.findall(text[start:end].lower())]
    return " ".join([text, order, *told, *(f"{order}_{word}" for word in told if word.startswith("between"))])


CONTENDERS = choosers(
    Choice(
        text=marked,
        label=lambda row: str(row["label"]),
        instruction="Say how <e1> and <e2> are related in the text. The relations are: {labels}. "
        "Answer with one of them and nothing else.",
        words=features,
    )
)
