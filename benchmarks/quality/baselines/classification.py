"""Baselines for classification."""

from typing import Any

from benchmarks.quality.baselines.choosing import Choice, choosers


def text_of(row: Any) -> str:
    """The text, and below it the second one of a pair."""
    pair = row.get("text_pair")
    return str(row["text"]) if pair is None else f"{row['text']}\n{pair}"


CHOICE = Choice(
    text=text_of,
    label=lambda row: str(row["label"]),
    instruction="Say which label fits the text best. The labels are: {labels}. Answer with one label and nothing else.",
)
CONTENDERS = choosers(CHOICE)
