"""Two spans of a text between markers, and labels with a direction."""

import re
from collections.abc import Callable, Sequence
from enum import StrEnum

HEAD = ("[E1]", "[/E1]")
TAIL = ("[E2]", "[/E2]")
DIRECTED = re.compile(r"(?P<label>.+)\((?P<first>e[12]),(?P<second>e[12])\)")
Span = tuple[int, int]


Offsets = Callable[[str], Sequence[Span]]
"""Characters of a text's tokens, without special ones."""
UNRELATED = frozenset({"other", "no_relation", "no relation", "none", "na", "n/a"})
"""Labels, in lower case, that say that there is no relation."""


class TooFarApart(ValueError):
    """Two spans that do not fit into a window with what is between them, which is `tokens` long."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"head and tail are too far apart: {tokens} tokens")
        self.tokens = tokens


class Direction(StrEnum):
    """Which span the relation starts from."""

    NONE = ""
    HEAD_TO_TAIL = "head_to_tail"
    TAIL_TO_HEAD = "tail_to_head"


def mark(text: str, head: Span, tail: Span) -> str:
    """The text with markers around both spans, which lie in it and do not overlap."""
    marked = text
    for (start, end), (before, after) in sorted(((head, HEAD), (tail, TAIL)), reverse=True):
        marked = f"{marked[:start]}{before} {marked[start:end]} {after}{marked[end:]}"
    return marked


def mark_within(text: str, head: Span, tail: Span, most: int, offsets: Offsets) -> str:
    """The marked text, shortened on both sides until it has `most` tokens. Raises TooFarApart."""
    whole = mark(text, head, tail)
    if len(offsets(whole)) <= most:
        return whole
    first, last = min(head[0], tail[0]), max(head[1], tail[1])
    core = len(offsets(_marked_part(text, head, tail, first, last)))
    room = most - core
    if room < 0:
        raise TooFarApart(core)
    before, after = offsets(text[:first]), offsets(text[last:])
    start = before[-min(room // 2, len(before))][0] if before and room // 2 else first
    end = last + (after[min(room - room // 2, len(after)) - 1][1] if after and room - room // 2 else 0)
    return _marked_part(text, head, tail, start, end)


def bring_nearer(text: str, head: Span, tail: Span, most: int, offsets: Offsets) -> tuple[str, Span, Span]:
    """Text and spans without the middle of what is between the two, so that `mark_within` takes them, unless the spans
    alone are too long."""
    first, second = sorted((head, tail))
    between = text[first[1] : second[0]]
    alone = mark(text[slice(*first)] + " " + text[slice(*second)], *_side_by_side(first, second))
    room = max(most - len(offsets(alone)) - 2, 0) // 2
    places = offsets(between)
    left = between[: places[room - 1][1]] if room and places else ""
    right = between[places[-room][0] :] if room and places else ""
    nearer = f"{text[: first[1]]}{left} {right}{text[second[0] :]}"
    shift = len(left) + 1 + len(right) - len(between)
    moved = (second[0] + shift, second[1] + shift)
    return (nearer, first, moved) if head < tail else (nearer, moved, first)


def directed_macro_f1(truth: Sequence[str], guesses: Sequence[str]) -> float:
    """SemEval-2010 task 8's official score, 0 to 1: the mean F1 of the relations that occur in the truth, leaving out
    the one that is none; a right relation in the wrong direction is a miss and a false alarm (its scorer's "(9+1)-way
    evaluation taking directionality into account"). 0 when no relation occurs."""
    true_names, guessed_names = ([name for name, _ in merge_directions(labels)] for labels in (truth, guesses))
    relations = sorted({name for name in true_names if name.lower() not in UNRELATED})
    scores = []
    for relation in relations:
        hits = sum(
            name == relation and label == guess for name, label, guess in zip(true_names, truth, guesses, strict=True)
        )
        scores.append(2 * hits / (true_names.count(relation) + guessed_names.count(relation)))
    return sum(scores) / len(scores) if scores else 0.0


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


def _marked_part(text: str, head: Span, tail: Span, start: int, end: int) -> str:
    moved = [(span[0] - start, span[1] - start) for span in (head, tail)]
    return mark(text[start:end], *moved)


def _side_by_side(first: Span, second: Span) -> tuple[Span, Span]:
    width = first[1] - first[0]
    return (0, width), (width + 1, width + 1 + second[1] - second[0])
