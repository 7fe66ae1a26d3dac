"""Rows of ranking and embedding: a query, texts that fit it, and texts that do not."""

from collections.abc import Mapping
from typing import Any, ClassVar

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.values import clean_text, clean_texts, quoted, required

MAX_POSITIVES = 64
MAX_NEGATIVES = 256


class RetrievalSchema(Schema):
    """`query`; `positive`, a text, or `positives`, a list; `negatives`, a list that may be missing or empty.

    Texts given twice count once. All rows of one query share a side.
    """

    kind: ClassVar[str]
    columns = ("query", "positives", "negatives")
    outputs = frozenset({"positive"})
    inputs = ("query", "positive", "positives", "negatives")
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        query = clean_text(required(row, "query", names), "query")
        positives = list(dict.fromkeys(_positives(row)))
        found = row.get("negatives")
        given = [] if found is None else clean_texts(found, "negatives", 0, MAX_NEGATIVES)
        negatives = list(dict.fromkeys(given))
        for position, negative in enumerate(given):
            if negative in positives:
                message = f"negatives[{position}] is a positive, too: {quoted(negative)}"
                raise RowError(Reason.CONTRADICTION, f"negatives[{position}]", message)
        content = row_id(self.kind, query, str(len(positives)), *positives, *negatives)
        stored = {"query": query, "positives": positives, "negatives": negatives}
        return ParsedRow(content, loosened(query), stored)

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        """A correction is the text that should have come first; the other candidates are its negatives."""
        others = given.get("candidates")
        negatives = [one for one in others if one != correction] if isinstance(others, list) else []
        return {"query": given.get("query"), "positive": correction, "negatives": negatives[:MAX_NEGATIVES]}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {
            "characters": sum(map(len, (fields["query"], *fields["positives"], *fields["negatives"]))),
            "negatives": len(fields["negatives"]),
        }


class RankingSchema(RetrievalSchema):
    kind = "ranking"


class EmbeddingSchema(RetrievalSchema):
    kind = "embedding"


def _positives(row: Mapping[str, Any]) -> list[str]:
    several = row.get("positives")
    if several is not None:
        return clean_texts(several, "positives", 1, MAX_POSITIVES)
    one = row.get("positive")
    if one is None:
        raise RowError(Reason.MISSING_FIELD, "positive", "positive is missing, and so is positives")
    return [clean_text(one, "positive")]
