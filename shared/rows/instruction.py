"""Rows of instruction following: one request, one answer."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import SEPARATOR, ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.chat import checked_messages
from shared.rows.values import clean_text, optional_text, required

ASKED = "instruction"
FIELDS = (ASKED, "input", "output", "system")


class InstructionSchema(Schema):
    """`instruction`, `input` (what it is about, if anything) and `output`; or `messages` of one turn. Both may tell the
    model first what it is: `system`, or a system message."""

    kind = "instruction"
    columns = FIELDS
    outputs = frozenset({"output"})
    inputs = (*FIELDS, "messages")
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        messages = row.get("messages")
        by_turns = messages is not None
        stored = _from_messages(checked_messages(messages)) if by_turns else _from_fields(row, spec.data.fields)
        content = [stored[name] or "" for name in FIELDS]
        asked = SEPARATOR.join(loosened(stored[name] or "") for name in FIELDS if name != "output")
        return ParsedRow(row_id(self.kind, *content), asked, stored)

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        messages = given.get("messages")
        if isinstance(messages, list):
            return {"messages": [*messages, {"role": "assistant", "content": correction}]}
        known = {name: given[name] for name in FIELDS if given.get(name)}
        return {**known, ASKED: given.get(ASKED, given.get("text")), "output": correction}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        asked = len(fields[ASKED]) + len(fields["input"] or "")
        return {"instruction_characters": asked, "output_characters": len(fields["output"])}


def _from_fields(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str | None]:
    def text(name: str) -> str:
        return clean_text(required(row, name, names), name)

    def maybe(name: str) -> str | None:
        return optional_text(row, name)

    return {ASKED: text(ASKED), "input": maybe("input"), "output": text("output"), "system": maybe("system")}


def _from_messages(messages: list[dict[str, str]]) -> dict[str, str | None]:
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    turns = messages[1:] if system is not None else messages
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        raise RowError(
            Reason.BAD_TURN_ORDER,
            "messages",
            f"an instruction is one turn, user then assistant; this has {len(turns)} messages: use kind chat",
        )
    return {ASKED: turns[0]["content"], "input": None, "output": turns[1]["content"], "system": system}
