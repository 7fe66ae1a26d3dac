"""Shapes in which conversations are published: ShareGPT and Alpaca rows become ours."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from services.ingestion.reading.received import Received
from shared.rows import RowError

ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model", "bot"), "assistant"),
    "system": "system",
}
"""Ours, by who speaks in published conversations."""
Fields = Mapping[str, Any]


def shaped(rows: Iterable[Received], asked: str) -> tuple[str, Iterator[Received]]:
    """The shape of the rows, asked for or seen in the first good one, and the rows with our fields."""
    rest = iter(rows)
    begun: list[Received] = []
    shape = asked
    while not shape and len(begun) < 20 and (row := next(rest, None)) is not None:
        begun.append(row)
        if not isinstance(row.fields, RowError):
            shape = _shape_of(row.fields)
            break
    every = chain(begun, rest)
    if shape not in CONVERTERS:
        return "", every
    return shape, _converted(every, CONVERTERS[shape])


def _converted(rows: Iterator[Received], convert: Callable[[Fields], Fields]) -> Iterator[Received]:
    for row in rows:
        yield row if isinstance(row.fields, RowError) else row._replace(fields=convert(row.fields))


def _shape_of(fields: Fields) -> str:
    turns = fields.get("conversations")
    if "messages" not in fields and isinstance(turns, list) and turns and isinstance(turns[0], dict):
        return "sharegpt" if {"from", "value"} <= turns[0].keys() else ""
    known = {"instruction", "output"} <= fields.keys() and not {"messages", "prompt", "response"} & fields.keys()
    return "alpaca" if known else ""


def _sharegpt(fields: Fields) -> Fields:
    """`conversations` of {from, value}, perhaps with `system`, as `messages`; what is none is left for the schema."""
    turns = fields.get("conversations")
    if not isinstance(turns, list):
        return fields
    messages = [_message(turn) for turn in turns]
    system = fields.get("system")
    if isinstance(system, str) and system.strip():
        messages.insert(0, {"role": "system", "content": system})
    return {**fields, "messages": messages, "conversations": messages}


def _message(turn: Any) -> Any:
    if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
        return turn
    speaker = turn["from"]
    role = ROLES.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
    return {"role": role, "content": turn["value"]}


def _alpaca(fields: Fields) -> Fields:
    """`instruction`, `input` and `output`, which are ours, and for chat a `prompt` of the first two and a `response`."""
    asked, about = fields.get("instruction"), fields.get("input")
    if not isinstance(asked, str):
        return fields
    prompt = f"{asked}\n\n{about}" if isinstance(about, str) and about.strip() else asked
    return {"prompt": prompt, "response": fields.get("output"), **fields}


CONVERTERS: dict[str, Callable[[Fields], Fields]] = {"sharegpt": _sharegpt, "alpaca": _alpaca}
