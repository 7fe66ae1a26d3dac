"""Parameters beside tensors, in the Open Inference Protocol: untyped there, typed here."""

import json
import re
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
"""What clients add by themselves, or the door has read; it changes no answer."""
WHOLE = re.compile(r"[+-]?[0-9]{1,20}")


def generate_request(model: ModelRef, text: str, parameters: Mapping[str, Value]) -> GenerateRequest:
    """The text is what the user says; with `raw` it is the prompt as it stands. Raises InvalidArgument."""
    left = dict(parameters)
    sampling: dict[str, Any] = {name: _float(left, name) for name in FLOATS & left.keys()}
    sampling.update({name: _integer(left, name) for name in INTEGERS & left.keys()})
    stopping = Stopping(
        max_tokens=_integer(left, "max_tokens") if "max_tokens" in left else DEFAULT_MAX_TOKENS,
        min_tokens=_integer(left, "min_tokens") if "min_tokens" in left else 0,
        stop=_texts(left, "stop"),
        ignore_eos=truth(left, "ignore_eos"),
    )
    constraint = _constraint(left)
    priority = _integer(left, "priority") if "priority" in left else 0
    salt = word(left, "cache_salt")
    prompt = _prompt(text, truth(left, "raw"), word(left, "system"))
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


def timeout_seconds(parameters: Mapping[str, Value]) -> float | None:
    """The parameter `timeout`, which is in microseconds; None without one. Raises InvalidArgument."""
    timeout = _integer(dict(parameters), "timeout") if "timeout" in parameters else 0
    if timeout < 0:
        raise _wrong("timeout", timeout, "0 (none) or more, in microseconds")
    return timeout / 1e6 or None


def word(left: dict[str, Value], name: str) -> str:
    """Takes a text out of `left`; empty when it is not there. Raises InvalidArgument."""
    value = left.pop(name, "")
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return value


def truth(left: dict[str, Value], name: str) -> bool:
    """Takes a truth value out of `left`; false when it is not there. Raises InvalidArgument."""
    value = left.pop(name, False)
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _prompt(text: str, raw: bool, system: str) -> Prompt:
    if raw:
        return Prompt(text=text)
    turns: list[Message] = [{"role": "user", "content": text}]
    if system:
        turns.insert(0, {"role": "system", "content": system})
    return Prompt(messages=turns)


def _constraint(left: dict[str, Value]) -> Constraint | None:
    found = [name for name in CONSTRAINTS if name in left]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidArgument(f"{' and '.join(found)} are given; at most one may be", field=f"parameters.{found[1]}")
    (name,) = found
    read: dict[str, Any] = {name: _texts(left, name) if name == "choices" else word(left, name)}
    return Constraint(**read)


def _texts(left: dict[str, Value], name: str) -> tuple[str, ...]:
    """A JSON list of texts, or one text."""
    text = word(left, name)
    if text.startswith("["):
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            return (text,)
        if isinstance(read, list) and all(isinstance(one, str) for one in read):
            return tuple(read)
    return (text,) if text else ()


def _float(left: dict[str, Value], name: str) -> float:
    value = left.pop(name)
    try:
        if not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    raise _wrong(name, value, "a number")


def _integer(left: dict[str, Value], name: str) -> int:
    value = left.pop(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value)
    raise _wrong(name, value, "a whole number")


def _wrong(name: str, value: Value, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"parameters.{name} is {value!r}; it must be {wanted}", field=f"parameters.{name}")
