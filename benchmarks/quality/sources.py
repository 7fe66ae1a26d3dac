"""Raw rows of the data sets: from folders of JSON Lines, or from installed packages where there are none."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.cli.demo.material import load_questions, load_tweets

Raw = dict[str, Any]
PACKAGE = "package:"
PACKAGED_TEST_ROWS = 1000


@dataclass(frozen=True)
class RawRows:
    """Rows to learn from and rows to be judged by; no text is on both sides."""

    train: list[Raw]
    test: list[Raw]
    more: list[Raw] = field(default_factory=list)
    """What rows refer to, such as the items of ratings."""


class DataMissing(Exception):
    """A data set that is not on this machine; its studies are left out of the table."""


def read_source(name: str, folder: Path) -> RawRows:
    """A data set by name: `package:NAME`, or a folder under `folder`, whose validation rows are the ones that judge.

    Raises DataMissing when it is not here.
    """
    if name.startswith(PACKAGE):
        return PACKAGED[name.removeprefix(PACKAGE)]()
    if not is_here(name, folder):
        raise DataMissing(f"{name} is not under {folder}")
    train, test = (read_lines(folder / name / f"{side}.jsonl") for side in ("train", "validation"))
    items = folder / name / "items.jsonl"
    return RawRows(train, test, read_lines(items) if items.is_file() else [])


def is_here(name: str, folder: Path) -> bool:
    """Whether a data set comes with a package or is under `folder`."""
    return name.startswith(PACKAGE) or (folder / name / "train.jsonl").is_file()


def read_lines(path: Path) -> list[Raw]:
    """A JSON object a line."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _tweets() -> RawRows:
    tweets = load_tweets()
    rows = [{"text": row["text"], "label": row["sentiment"]} for row in [*tweets.first, *tweets.more]]
    return RawRows(rows[PACKAGED_TEST_ROWS:], rows[:PACKAGED_TEST_ROWS])


def _questions() -> RawRows:
    pairs, _ = load_questions()
    rows = [{"prompt": pair["question"], "response": pair["answer"]} for pair in pairs]
    tenth = len(rows) // 10
    return RawRows(rows[tenth:], rows[:tenth])


PACKAGED: dict[str, Callable[[], RawRows]] = {"tweets": _tweets, "support": _questions}
