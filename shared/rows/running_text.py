"""Rows of running text: with a beginning that is given (generation), or as it stands (generation, pretraining)."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import SEPARATOR, ParsedRow, Schema, loosened, row_id
from shared.rows.values import clean_text, optional_text, required


class GenerationSchema(Schema):
    """`text`, and the `prompt` that it goes on from, if there is one. (`completion` is another word for `text`.) The
    two are joined as they stand: a space between them belongs to one of them."""

    kind = "generation"
    columns = ("prompt", "text")
    outputs = frozenset({"text"})
    inputs = ("prompt", "text", "completion")
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        prompt = optional_text(row, "prompt")
        text = clean_text(_text_of(row, names), "text")
        key = loosened(text) if prompt is None else f"{SEPARATOR}{loosened(prompt)}"
        return ParsedRow(row_id(self.kind, prompt or "", text), key, {"prompt": prompt, "text": text})

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        messages = given.get("messages")
        asked = messages[-1].get("content") if isinstance(messages, list) and messages else None
        return {"prompt": asked or given.get("prompt", given.get("text")), "text": correction}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"characters": len(fields["text"]), "prompt_characters": len(fields["prompt"] or "")}


class PretrainingSchema(Schema):
    """`text`: a document, of any length."""

    kind = "pretraining"
    columns = ("text",)
    outputs = frozenset({"text"})
    inputs = ("text",)
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        text = clean_text(required(row, "text", spec.data.fields), "text")
        return ParsedRow(row_id(self.kind, text), loosened(text), {"text": text})

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        return {"text": correction}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"characters": len(fields["text"]), "bytes": len(fields["text"].encode())}


def _text_of(row: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    """Raises RowError when neither name is there."""
    completion = row.get("completion")
    return required(row, "text", names) if completion is None else completion
