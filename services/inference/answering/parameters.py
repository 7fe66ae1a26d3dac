"""Parameters beside tensors, in the Open Inference Protocol: untyped there, typed here."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from services.inference.answering.requests import DEFAULT_MAX_TOKENS, GenerateRequest, ModelRef, Prompt
from services.inference.engine.interface import Constraint, Sampling, Stopping
from services.inference.kinds.capabilities import Rewriting
from shared.errors import InvalidArgument
from shared.modeling.kinds.turns import Message

Value = bool | int | float | str
FLOATS = frozenset({"temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"})
INTEGERS = frozenset({"top_k", "seed"})
CONSTRAINTS = ("json_schema", "regex", "lark", "choices")
OF_CLIENTS = frozenset({"sequence_id", "sequence_start", "sequence_end", "binary_data_output", "timeout"})
"""What clients add by themselves; it changes no answer."""


def generate_request(model: ModelRef, text: str, parameters: Mapping[str, Value]) -> GenerateRequest:
    """The text is what the user says; with `raw` it is the prompt as it stands. Raises InvalidArgument."""
    left = dict(parameters)
    sampling: dict[str, Any] = {name: _float(left, name) for name in FLOATS & left.keys()}
    sampling.update({name: _integer(left, name) for name in INTEGERS & left.keys()})
    stopping = Stopping(
        max_tokens=_integer(left, "max_tokens") if "max_tokens" in left else DEFAULT_MAX_TOKENS,
        min_tokens=_integer(left, "min_tokens") if "min_tokens" in left else 0,
        stop=_texts(left.pop("stop", "")),
        ignore_eos=bool(left.pop("ignore_eos", False)),
    )
    constraint = _constraint(left)
    priority = _integer(left, "priority") if "priority" in left else 0
    salt = str(left.pop("cache_salt", ""))
    prompt = _prompt(text, bool(left.pop("raw", False)), str(left.pop("system", "")))
    check_taken(left)
    return GenerateRequest(
        model, prompt, Sampling(**sampling), stopping, "", constraint, priority=priority, cache_salt=salt
    )


def rewriting(parameters: Mapping[str, Value]) -> Rewriting:
    """Bounds of a translation or a summary. Raises InvalidArgument."""
    left = dict(parameters)
    given: dict[str, Any] = {}
    for field in fields(Rewriting):
        if field.name in left:
            read = _float if field.name == "length_penalty" else _integer
            given[field.name] = read(left, field.name)
    check_taken(left)
    return Rewriting(**given)


def check_taken(left: Mapping[str, Value]) -> None:
    """Raises InvalidArgument for a parameter that nobody has taken."""
    for name in left.keys() - OF_CLIENTS:
        if not name.startswith("triton_"):
            raise InvalidArgument(f"no parameter {name!r} for models of this kind", field=f"parameters.{name}")


def _prompt(text: str, raw: bool, system: str) -> Prompt:
    if raw:
        return Prompt(text=text)
    turns: list[Message] = [{"role": "user", "content": text}]
    if system:
        turns.insert(0, {"role": "system", "content": system})
    return Prompt(messages=turns)


def _constraint(left: dict[str, Value]) -> Constraint | None:
    found: dict[str, Any] = {name: left.pop(name) for name in CONSTRAINTS if name in left}
    if not found:
        return None
    if len(found) > 1:
        raise InvalidArgument(f"{' and '.join(found)} are given; at most one may be", field="parameters")
    read: dict[str, Any] = {name: _texts(value) if name == "choices" else str(value) for name, value in found.items()}
    return Constraint(**read)


def _texts(value: Value) -> tuple[str, ...]:
    """A JSON list of texts, or one text."""
    text = str(value)
    if text.startswith("["):
        try:
            read = json.loads(text)
        except ValueError:
            return (text,)
        if isinstance(read, list) and all(isinstance(one, str) for one in read):
            return tuple(read)
    return (text,) if text else ()


def _float(left: dict[str, Value], name: str) -> float:
    value = left.pop(name)
    try:
        return float(value)
    except ValueError:
        raise _wrong(name, value, "a number") from None


def _integer(left: dict[str, Value], name: str) -> int:
    value = left.pop(name)
    try:
        number = float(value)
    except ValueError:
        raise _wrong(name, value, "a whole number") from None
    if not number.is_integer():
        raise _wrong(name, value, "a whole number")
    return int(value) if isinstance(value, int | str) and not isinstance(value, bool) else int(number)


def _wrong(name: str, value: Value, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"parameters.{name} is {value!r}; it must be {wanted}", field=f"parameters.{name}")
