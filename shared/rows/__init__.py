"""Rows by task kind: checked, identified, assigned to a side. Torch-free."""

from shared.rows.base import ParsedRow, Reason, RowError, Schema
from shared.rows.chat import ChatSchema
from shared.rows.classification import ClassificationSchema

SCHEMAS: dict[str, Schema] = {schema.kind: schema for schema in (ClassificationSchema(), ChatSchema())}

__all__ = ["SCHEMAS", "ParsedRow", "Reason", "RowError", "Schema"]
