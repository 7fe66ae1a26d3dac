"""Rows of relation extraction: a text, two spans of it, and how they are related."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.labels import check_label
from shared.rows.spans import Span, find_once, read_span
from shared.rows.values import clean_label, clean_text, required, type_name

MARK = re.compile(r"</?e[12]>")
MARKED = re.compile(
    r"<e(?P<one>[12])>(?P<first>.*?)</e(?P=one)>(?P<between>.*?)<e(?P<two>[12])>(?P<second>.*?)</e(?P=two)>", re.S
)
PLACES = ("head_start", "head_end", "tail_start", "tail_end")


class RelationExtractionSchema(Schema):
    """`text`, `label`, and where the two are: `<e1>..</e1>` and `<e2>..</e2>` in the text; or `head` and `tail`, each
    {start, end}, [start, end], or words that occur once. A label may have a direction: `Cause-Effect(e2,e1)`."""

    kind = "relation_extraction"
    columns = ("text", *PLACES, "label")
    outputs = frozenset({"label"})
    inputs = ("text", "head", "tail", "label")
    texts = ("text",)
    has_places = True

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        given = required(row, "text", names)
        text = clean_text(given, "text")
        label = clean_label(required(row, "label", names), "label")
        check_label(label, spec.labels)
        if MARK.search(text):
            text, head, tail = read_marks(text)
        else:
            head = _place(required(row, "head", names), given, text, "head")
            tail = _place(required(row, "tail", names), given, text, "tail")
        if head.start < tail.end and tail.start < head.end:
            raise RowError(Reason.BAD_SPAN, "tail", "head and tail overlap; a relation is between two places")
        places = dict(zip(PLACES, (*head, *tail), strict=True))
        id = row_id(self.kind, text, *map(str, places.values()), label)
        return ParsedRow(id, loosened(text), {"text": text, **places, "label": label})

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        return {**{name: given.get(name) for name in ("text", "head", "tail")}, "label": correction}

    def given(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        head, tail = ({"start": stored[f"{name}_start"], "end": stored[f"{name}_end"]} for name in ("head", "tail"))
        return {"text": stored["text"], "head": head, "tail": tail, "label": stored["label"]}

    def labels(self, fields: Mapping[str, Any]) -> Sequence[str]:
        return (str(fields["label"]),)

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"characters": len(fields["text"])}


def read_marks(text: str) -> tuple[str, Span, Span]:
    """The text without its marks, and the spans of e1 and e2. Raises RowError when the marks are not one pair each."""
    found = MARKED.search(text)
    if found is None or found["one"] == found["two"] or len(MARK.findall(text)) != 4:
        message = "text must have one <e1>..</e1> and one <e2>..</e2>, one after the other"
        raise RowError(Reason.BAD_SPAN, "text", message)
    before = text[: found.start()]
    pieces = [before, found["first"], found["between"], found["second"], text[found.end() :]]
    plain = "".join(pieces)
    starts = [len("".join(pieces[:count])) for count in range(5)]
    first = read_span(starts[1], starts[2], plain, f"e{found['one']}")
    second = read_span(starts[3], starts[4], plain, f"e{found['two']}")
    return (plain, first, second) if found["one"] == "1" else (plain, second, first)


def _place(value: Any, given: str, text: str, field: str) -> Span:
    if isinstance(value, str):
        return find_once(text, clean_text(value, field).strip(), field)
    if isinstance(value, Mapping):
        for name in ("start", "end"):
            if value.get(name) is None:
                raise RowError(Reason.MISSING_FIELD, f"{field}.{name}", f"{field}.{name} is missing")
        return read_span(value["start"], value["end"], given, field)
    if isinstance(value, list | tuple) and len(value) == 2:
        return read_span(value[0], value[1], given, field)
    message = f"{field} must be words, {{start, end}} or [start, end], not {type_name(value)}"
    raise RowError(Reason.WRONG_TYPE, field, message)
