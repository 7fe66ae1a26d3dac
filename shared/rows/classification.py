"""Rows of text classification: a text or a pair of texts, with a label or a set of labels."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import SEPARATOR, ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.labels import check_label
from shared.rows.values import MISSING, clean_label, clean_text, find, required, type_name

MAX_LABELS = 1000
"""Of one row."""


class ClassificationSchema(Schema):
    """`text`, for pairs `text_pair`, and `label`; with the option multi_label `labels`, a list that may be empty.

    Labels are the pipeline's where it names them. With multi_label a lone `label` is a set of one.
    """

    kind = "classification"
    columns = ("text", "label", "text_pair", "labels")
    outputs = frozenset({"label", "labels"})

    def parse(self, fields: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        text = clean_text(required(fields, names.get("text", "text"), "text"), "text")
        pair = find(fields, names.get("text_pair", "text_pair"))
        texts = [text] if pair is MISSING else [text, clean_text(pair, "text_pair")]
        label, labels = None, None
        if spec.options.multi_label:
            labels = _labels(fields, spec)
            # An empty label can't be, so no row of one label looks like this.
            content = ["", json.dumps(labels), *texts]
        else:
            label = _known(clean_label(required(fields, names.get("label", "label"), "label"), "label"), "label", spec)
            content = [label, *texts]
        stored = {"text": text, "label": label, "text_pair": texts[1] if len(texts) > 1 else None, "labels": labels}
        # Sorted: (a, b) and (b, a) are near copies.
        return ParsedRow(row_id(self.kind, *content), SEPARATOR.join(sorted(map(loosened, texts))), stored)

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


def _labels(fields: Mapping[str, Any], spec: PipelineSpec) -> list[str]:
    """Sorted, none twice."""
    names = spec.data.fields
    found = find(fields, names.get("labels", "labels"))
    if found is MISSING:
        one = find(fields, names.get("label", "label"))
        if one is MISSING:
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
