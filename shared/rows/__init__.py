"""Rows by task kind: checked, identified, assigned to a side. Torch-free."""

from shared.rows.answer_selection import AnswerSelectionSchema
from shared.rows.base import ParsedRow, Reason, RowError, Schema
from shared.rows.chat import ChatSchema
from shared.rows.classification import ClassificationSchema
from shared.rows.instruction import InstructionSchema
from shared.rows.paths import MISSING, find
from shared.rows.question_answering import QuestionAnsweringSchema
from shared.rows.relation_extraction import RelationExtractionSchema
from shared.rows.retrieval import EmbeddingSchema, RankingSchema
from shared.rows.rewriting import SummarisationSchema, TranslationSchema
from shared.rows.running_text import GenerationSchema, PretrainingSchema
from shared.rows.token_classification import TokenClassificationSchema

SCHEMAS: dict[str, Schema] = {
    schema.kind: schema
    for schema in (
        ClassificationSchema(),
        TokenClassificationSchema(),
        RelationExtractionSchema(),
        QuestionAnsweringSchema(),
        AnswerSelectionSchema(),
        RankingSchema(),
        EmbeddingSchema(),
        TranslationSchema(),
        SummarisationSchema(),
        ChatSchema(),
        InstructionSchema(),
        GenerationSchema(),
        PretrainingSchema(),
    )
}

__all__ = ["MISSING", "SCHEMAS", "ParsedRow", "Reason", "RowError", "Schema", "find"]
