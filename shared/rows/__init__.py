"""Rows by task kind: checked, identified, assigned to a side. Torch-free."""

from shared.rows.base import ParsedRow, Reason, RowError, Schema
from shared.rows.chat import ChatSchema
from shared.rows.classification import ClassificationSchema
from shared.rows.instruction import InstructionSchema
from shared.rows.rewriting import SummarisationSchema, TranslationSchema
from shared.rows.running_text import GenerationSchema, PretrainingSchema

SCHEMAS: dict[str, Schema] = {
    schema.kind: schema
    for schema in (
        ClassificationSchema(),
        TranslationSchema(),
        SummarisationSchema(),
        ChatSchema(),
        InstructionSchema(),
        GenerationSchema(),
        PretrainingSchema(),
    )
}

__all__ = ["SCHEMAS", "ParsedRow", "Reason", "RowError", "Schema"]
