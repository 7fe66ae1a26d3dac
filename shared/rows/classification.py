"""Rows of text classification: a text or a pair of texts, with a label or a set of labels."""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any
from unicodedata import normalize

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import SEPARATOR, ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.labels import check_label
from shared.rows.values import clean_label, clean_text, required, type_name

MAX_LABELS = 1000
"""Of one row."""


class ClassificationSchema(Schema):
    """`text`, for pairs `text_pair`, and `label`; with the option multi_label `labels`, a list that may be empty.

    Labels are the pipeline's where it names them. With multi_label a lone `label` is a set of one.
    """

    kind = "classification"
    columns = ("text", "label", "text_pair", "labels")
    outputs = frozenset({"label", "labels"})
    inputs = ("text", "text_pair", "label", "labels")
    texts = ("text", "text_pair")
    key_columns = ("text", "text_pair")

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        text = clean_text(required(row, "text", names), "text")
        pair = row.get("text_pair")
        texts = [text] if pair is None else [text, clean_text(pair, "text_pair")]
        label, labels = None, None
        if spec.options.multi_label:
            labels = _labels(row, spec)
            # An empty label can't be, so no row of one label looks like this.
            content = ["", json.dumps(labels), *texts]
        else:
            label = _known(clean_label(required(row, "label", names), "label"), "label", spec)
            content = [label, *texts]
        stored = {"text": text, "label": label, "text_pair": texts[1] if len(texts) > 1 else None, "labels": labels}
        return ParsedRow(row_id(self.kind, *content), _split_key(texts), stored)

    def reader(self, spec: PipelineSpec) -> Callable[[Mapping[str, Any]], ParsedRow]:
        """A short way for the commonest row, one text with one label; `check` for the others and for bad ones."""
        if spec.options.multi_label:
            return super().reader(spec)
        known = None if spec.labels is None else frozenset(spec.labels)
        check = super().reader(spec)

        def read(row: Mapping[str, Any]) -> ParsedRow:
            text, label = row.get("text"), row.get("label")
            if type(text) is not str or type(label) is not str or row.get("text_pair") is not None:
                return check(row)
            if not text.isascii() or not label.isascii():
                text, label = normalize("NFC", text), normalize("NFC", label)
            content = f"classification\0{label}\0{text}"
            usable = label and not label.isspace() and (known is None or label in known)
            key = " ".join(text.casefold().split())
            if not usable or not key or content.count("\0") != 2:
                return check(row)
            try:
                id = sha256(content.encode()).hexdigest()
            except UnicodeEncodeError:
                return check(row)
            return ParsedRow(id, key, {"text": text, "label": label, "text_pair": None, "labels": None})

        return read

    def stored_key(self, stored: Mapping[str, Any]) -> str:
        pair = stored.get("text_pair")
        return loosened(stored["text"]) if pair is None else _split_key([stored["text"], pair])

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        """A correction is a label, or a JSON list of labels."""
        row = {name: given[name] for name in ("text", "text_pair") if given.get(name) is not None}
        several = _json_list(correction)
        return {"text": None, **row, **({"label": correction} if several is None else {"labels": several})}

    def labels(self, fields: Mapping[str, Any]) -> Sequence[str]:
        several = fields.get("labels")
        return [str(fields["label"])] if several is None else list(map(str, several))

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"characters": len(fields["text"]) + len(fields.get("text_pair") or "")}


def _split_key(texts: Sequence[str]) -> str:
    """Sorted: (a, b) and (b, a) are near copies."""
    return SEPARATOR.join(sorted(map(loosened, texts)))


def _labels(row: Mapping[str, Any], spec: PipelineSpec) -> list[str]:
    """Sorted, none twice."""
    found = row.get("labels")
    if found is None:
        one = row.get("label")
        if one is None:
            raise RowError(
                Reason.MISSING_FIELD, "labels", "labels is missing (a list; empty for a text that none fits)"
            )
        return [_known(clean_label(one, "label"), "label", spec)]
    if not isinstance(found, list | tuple):
        raise RowError(Reason.WRONG_TYPE, "labels", f"labels must be a list, not {type_name(found)}")
    if len(found) > MAX_LABELS:
        raise RowError(Reason.WRONG_COUNT, "labels", f"labels has {len(found)} entries, the limit is {MAX_LABELS}")
    cleaned = [clean_label(one, f"labels[{position}]") for position, one in enumerate(found)]
    return sorted({_known(one, f"labels[{position}]", spec) for position, one in enumerate(cleaned)})


def _known(label: str, field: str, spec: PipelineSpec) -> str:
    check_label(label, spec.labels, field)
    return label


def _json_list(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
