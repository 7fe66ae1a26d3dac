"""Tags of words: any of the usual notations in, IOB2 out."""

from collections.abc import Sequence
from typing import NamedTuple

from shared.rows.base import Reason, RowError
from shared.rows.values import quoted

OUTSIDE = "O"
OPENING = ("B", "S", "U")
CLOSING = ("E", "S", "L", "U")
PREFIXES = frozenset("BIEMSLU")


class TaggedSpan(NamedTuple):
    """Words `first` to before `end` are an entity."""

    label: str
    first: int
    end: int


def to_iob2(tags: Sequence[str], field: str = "tags") -> list[str]:
    """IOB1, IOB2, BIOES, BILOU, or plain labels, as IOB2; an `I-` that continues nothing opens an entity.

    Raises RowError (BAD_TAG) for a tag without a label.
    """
    found, open_label, closed = [], "", True
    for place, tag in enumerate(tags):
        prefix, label = _parts(tag, f"{field}[{place}]")
        opens = prefix in OPENING or label != open_label or closed
        found.append(OUTSIDE if not label else f"{'B' if opens else 'I'}-{label}")
        open_label, closed = label, prefix in CLOSING
    return found


def tagged_spans(tags: Sequence[str]) -> list[TaggedSpan]:
    """Entities of IOB2 tags, in order."""
    spans: list[TaggedSpan] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append(TaggedSpan(tag[2:], place, place + 1))
        elif tag != OUTSIDE:
            spans[-1] = spans[-1]._replace(end=place + 1)
    return spans


def tags_of(spans: Sequence[TaggedSpan], words: int) -> list[str]:
    """IOB2 tags of so many words; the inverse of `tagged_spans`."""
    tags = [OUTSIDE] * words
    for label, first, end in spans:
        tags[first:end] = [f"B-{label}", *[f"I-{label}"] * (end - first - 1)]
    return tags


def _parts(tag: str, field: str) -> tuple[str, str]:
    """Prefix and label; both empty outside. What has no known prefix is a label by itself."""
    if tag == OUTSIDE:
        return "", ""
    prefix, dash, label = tag.partition("-")
    if prefix not in PREFIXES:
        return "", tag
    if not dash or not label:
        raise RowError(
            Reason.BAD_TAG, field, f"{field} is {quoted(tag)}; after {prefix}- the entity's label is missing"
        )
    return prefix, label
