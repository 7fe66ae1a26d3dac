"""Rows of token classification: words with tags, or a text with entities."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.labels import check_label
from shared.rows.spans import Span, read_span
from shared.rows.tags import TaggedSpan, tagged_spans, tags_of, to_iob2
from shared.rows.values import a_list, clean_label, clean_text, from_json, quoted, required, type_name
from shared.rows.words import word_spans


class TokenClassificationSchema(Schema):
    """`tokens` and `tags`, a tag a token; or `text` and `entities`, a list of {start, end, label} in characters, whose
    text is cut into words as in service. Stored are tokens and IOB2 tags."""

    kind = "token_classification"
    columns = ("tokens", "tags")
    outputs = frozenset({"tags", "entities"})
    inputs = ("tokens", "tags", "text", "entities")
    texts = ("tokens", "text")
    has_places = True

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        if row.get("tokens") is not None:
            tokens, tags = _tagged(row, names)
        elif row.get("text") is not None:
            tokens, tags = _annotated(row, names)
        else:
            raise RowError(Reason.MISSING_FIELD, "tokens", "tokens is missing, and so is text")
        for span in tagged_spans(tags):
            check_label(span.label, spec.labels, f"tags[{span.first}]")
        return ParsedRow(
            row_id(self.kind, *tokens, *tags), loosened(" ".join(tokens)), {"tokens": tokens, "tags": tags}
        )

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        """The correction is JSON: a list of entities, or of tags, one a word."""
        right = from_json(correction)
        if isinstance(right, list) and right and all(isinstance(tag, str) for tag in right):
            return {"tokens": given.get("tokens") or str(given.get("text", "")).split(), "tags": right}
        return {"text": given.get("text"), "entities": right}

    def labels(self, fields: Mapping[str, Any]) -> Sequence[str]:
        return sorted({span.label for span in tagged_spans(fields["tags"])})

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"tokens": len(fields["tokens"]), "entities": len(tagged_spans(fields["tags"]))}


def _tagged(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    words = a_list(required(row, "tokens", names), "tokens")
    marks = a_list(required(row, "tags", names), "tags")
    if not words:
        raise RowError(Reason.EMPTY_TEXT, "tokens", "tokens is empty")
    if len(words) != len(marks):
        message = f"there are {len(words)} tokens and {len(marks)} tags; each token needs one"
        raise RowError(Reason.LENGTHS_DIFFER, "tags", message)
    tokens = [clean_text(word, f"tokens[{place}]") for place, word in enumerate(words)]
    return tokens, to_iob2([clean_text(mark, f"tags[{place}]") for place, mark in enumerate(marks)])


def _annotated(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    given = required(row, "text", names)
    text = clean_text(given, "text")
    entities = a_list(required(row, "entities", names), "entities")
    found = [_entity(entity, given, f"entities[{place}]") for place, entity in enumerate(entities)]
    words = word_spans(text)
    spans = [_of_words(text, words, *one) for one in sorted(found, key=lambda one: one[1])]
    for before, after in pairwise(spans):
        if after.first < before.end:
            raise RowError(
                Reason.BAD_SPAN,
                "entities",
                f"entities overlap at {quoted(text[words[after.first][0] : words[after.first][1]])}; "
                "a word can belong to one only",
            )
    return [text[start:end] for start, end in words], tags_of(spans, len(words))


def _entity(entity: Any, given: str, field: str) -> tuple[str, Span, str]:
    if not isinstance(entity, Mapping):
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be an object, not {type_name(entity)}")
    for name in ("start", "end", "label"):
        if entity.get(name) is None:
            raise RowError(Reason.MISSING_FIELD, f"{field}.{name}", f"{field}.{name} is missing")
    label = clean_label(entity["label"], f"{field}.label")
    return label, read_span(entity["start"], entity["end"], given, field), field


def _of_words(text: str, words: Sequence[tuple[int, int]], label: str, span: Span, field: str) -> TaggedSpan:
    """The words that an entity consists of. Raises RowError when it ends inside one."""
    inside = [place for place, (start, end) in enumerate(words) if start < span.end and end > span.start]
    for place in inside:
        start, end = words[place]
        if start < span.start or end > span.end:
            message = (
                f"{field} covers only a part of the word {quoted(text[start:end])} (characters {start} to {end}); "
                "cover all of it, or send tokens and tags"
            )
            raise RowError(Reason.BAD_SPAN, field, message)
    assert inside, "a span that is not blank has a word"
    return TaggedSpan(label, inside[0], inside[-1] + 1)
