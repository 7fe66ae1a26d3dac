"""Rows of text classification: text, label."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.values import clean_label, clean_text, quoted, required


class ClassificationSchema(Schema):
    """`text` and `label`; the label is one of the pipeline's where it names them."""

    kind = "classification"
    columns = ("text", "label")
    outputs = frozenset({"label"})

    def parse(self, fields: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        text = clean_text(required(fields, names.get("text", "text"), "text"), "text")
        label = clean_label(required(fields, names.get("label", "label"), "label"), "label")
        if spec.labels is not None and label not in spec.labels:
            raise RowError(Reason.UNKNOWN_LABEL, "label", _unknown(label, tuple(spec.labels)))
        return ParsedRow(row_id(self.kind, label, text), loosened(text), {"text": text, "label": label})

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        return {"text": given.get("text"), "label": correction}

    def labels(self, fields: Mapping[str, Any]) -> Sequence[str]:
        return (str(fields["label"]),)

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"characters": len(fields["text"])}


@lru_cache(maxsize=1024)
def _unknown(label: str, labels: tuple[str, ...]) -> str:
    nearest = get_close_matches(label, labels, n=1, cutoff=0.0)
    known = ", ".join(labels) if len(labels) <= 10 else f"one of {len(labels)} labels"
    return f"label {quoted(label)} is unknown; nearest: {nearest[0]!r}; the pipeline has {known}"
