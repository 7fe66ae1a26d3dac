"""Relation extraction: the relation between two marked spans of a text."""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from transformers import AutoModelForSequenceClassification, PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import ServedKind
from shared.modeling.kinds.heads import label_options, load_with_head

HEAD = ("[E1]", "[/E1]")
TAIL = ("[E2]", "[/E2]")
DIRECTED = re.compile(r"(?P<label>.+)\((?P<first>e[12]),(?P<second>e[12])\)")
Span = tuple[int, int]


class Direction(StrEnum):
    """Which span the relation starts from."""

    NONE = ""
    HEAD_TO_TAIL = "head_to_tail"
    TAIL_TO_HEAD = "tail_to_head"


class RelationExtraction(ServedKind):
    """A classification of texts whose spans stand between markers (Baldini Soares et al. 2019, entity markers).

    A label may carry a direction, as SemEval-2010 task 8 writes it: `Cause-Effect(e1,e2)`.
    """

    name = "relation_extraction"

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        if len(labels) < 2:
            raise InvalidArgument(f"relation extraction needs at least two labels, not {list(labels)}", field="labels")
        return load_with_head(AutoModelForSequenceClassification, folder, self.name, label_options(labels))


def mark(text: str, head: Span, tail: Span) -> str:
    """The text with markers around both spans, which lie in it and do not overlap."""
    marked = text
    for (start, end), (before, after) in sorted(((head, HEAD), (tail, TAIL)), reverse=True):
        marked = f"{marked[:start]}{before} {marked[start:end]} {after}{marked[end:]}"
    return marked


def merge_directions(labels: Sequence[str]) -> list[tuple[str, Direction]]:
    """Each label without its direction, and the direction."""
    found = []
    for label in labels:
        directed = DIRECTED.fullmatch(label)
        if directed is None or directed["first"] == directed["second"]:
            found.append((label, Direction.NONE))
        else:
            forward = directed["first"] == "e1"
            found.append((directed["label"], Direction.HEAD_TO_TAIL if forward else Direction.TAIL_TO_HEAD))
    return found
