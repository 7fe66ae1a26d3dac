"""Rows of dialogue: messages that end with the assistant's turn."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import SEPARATOR, ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.values import clean_text, quoted, required, type_name

ROLES = ("system", "user", "assistant")
Message = dict[str, str]


class ChatSchema(Schema):
    """`messages`, a list of {role, content}; or `prompt` and `response`, which become two messages."""

    kind = "chat"
    columns = ("messages",)
    outputs = frozenset({"response"})
    inputs = ("messages", "prompt", "response")
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        messages = _messages(row, spec.data.fields)
        content = [part for message in messages for part in (message["role"], message["content"])]
        asked = SEPARATOR.join(map(loosened, content[:-2]))
        return ParsedRow(row_id(self.kind, *content), asked, {"messages": messages})

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        messages = given.get("messages")
        if isinstance(messages, list):
            return {"messages": [*messages, {"role": "assistant", "content": correction}]}
        return {"prompt": given.get("prompt", given.get("text")), "response": correction}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        messages = fields["messages"]
        return {"characters": sum(len(message["content"]) for message in messages), "turns": len(messages)}


def _messages(row: Mapping[str, Any], names: Mapping[str, str]) -> list[Message]:
    found = row.get("messages")
    if found is not None:
        return checked_messages(found)
    prompt = row.get("prompt")
    response = row.get("response")
    if prompt is None and response is None:
        raise RowError(Reason.MISSING_FIELD, "messages", "messages is missing, and so are prompt and response")
    prompt = required(row, "prompt", names)
    response = required(row, "response", names)
    return [
        {"role": "user", "content": clean_text(prompt, "prompt")},
        {"role": "assistant", "content": clean_text(response, "response")},
    ]


def checked_messages(given: Any) -> list[Message]:
    """Turns that something was asked in and that end with an answer. Raises RowError."""
    if not isinstance(given, list):
        raise RowError(Reason.WRONG_TYPE, "messages", f"messages must be a list, not {type_name(given)}")
    if not given:
        raise RowError(Reason.EMPTY_TEXT, "messages", "messages is empty")
    messages = [_turn(turn, f"messages[{position}]") for position, turn in enumerate(given)]
    if messages[-1]["role"] != "assistant":
        role = messages[-1]["role"]
        raise RowError(Reason.BAD_TURN_ORDER, "messages", f"the last turn must be the assistant's, not the {role}'s")
    if messages[0]["role"] == "assistant":
        raise RowError(Reason.BAD_TURN_ORDER, "messages", "the first turn is the assistant's; nothing was asked")
    return messages


def _turn(turn: Any, field: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be an object, not {type_name(turn)}")
    role = _part(turn, "role", field)
    if role not in ROLES:
        message = f"{field}.role is {quoted(role)}; it must be {', '.join(ROLES)}"
        raise RowError(Reason.UNKNOWN_ROLE, f"{field}.role", message)
    return {"role": role, "content": _part(turn, "content", field)}


def _part(turn: Mapping[str, Any], name: str, field: str) -> str:
    value = turn.get(name)
    if value is None:
        raise RowError(Reason.MISSING_FIELD, f"{field}.{name}", f"{field}.{name} is missing")
    return clean_text(value, f"{field}.{name}")
