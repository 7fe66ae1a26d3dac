"""Rows of translation (source, target) and summarisation (document, summary)."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Schema, loosened, row_id
from shared.rows.values import clean_text, optional_text, required


class TranslationSchema(Schema):
    """`source` and `target`, with `source_lang` and `target_lang` where a model is told its languages."""

    kind = "translation"
    columns = ("source", "target", "source_lang", "target_lang")
    outputs = frozenset({"target"})
    inputs = ("source", "target", "source_lang", "target_lang")
    texts = ("source", "target")

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        source, target = (clean_text(required(row, name, names), name) for name in ("source", "target"))
        languages = [optional_text(row, name) for name in ("source_lang", "target_lang")]
        identity = row_id(self.kind, *(language or "" for language in languages), source, target)
        row = dict(zip(self.columns, (source, target, *languages), strict=True))
        return ParsedRow(identity, loosened(source), row)

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        row = {"source": given.get("source", given.get("text")), "target": correction}
        for name, asked in (("source_lang", "source_language"), ("target_lang", "target_language")):
            if language := given.get(name) or given.get(asked):
                row[name] = language
        return row

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"source_characters": len(fields["source"]), "target_characters": len(fields["target"])}


class SummarisationSchema(Schema):
    """`document` and `summary`."""

    kind = "summarisation"
    columns = ("document", "summary")
    outputs = frozenset({"summary"})
    inputs = ("document", "summary")
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        document, summary = (clean_text(required(row, name, names), name) for name in self.columns)
        row = {"document": document, "summary": summary}
        return ParsedRow(row_id(self.kind, document, summary), loosened(document), row)

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        return {"document": given.get("document", given.get("text")), "summary": correction}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"document_characters": len(fields["document"]), "summary_characters": len(fields["summary"])}
