"""Constraints as a caller writes them, to llguidance's grammars. What would take for ever to compile is refused."""

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from llguidance import LLMatcher

from services.inference.engine.interface import Constraint
from shared.errors import InvalidArgument

WHITESPACE = r"[\x20\x0A\x0D\x09]{1,8}"  # without a bound a weak model writes blanks until its tokens are used up
LARGEST_MULTIPLE = 100_000  # a remainder is a state of the automaton: 0.2 s here, for ever at 10 million


def field_of(constraint: Constraint) -> str:
    """The field that is set, as a caller knows it."""
    if constraint.json_schema is not None:
        return "constraint.json_schema"
    if constraint.regex is not None:
        return "constraint.regex"
    return "constraint.lark" if constraint.lark is not None else "constraint.choices"


def grammar_of(constraint: Constraint) -> str:
    """The grammar, not yet compiled. Raises `InvalidArgument` naming the field."""
    if constraint.json_schema is not None:
        schema = _schema(constraint.json_schema)
        return str(LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_pattern": WHITESPACE}))
    if constraint.regex is not None:
        return str(LLMatcher.grammar_from_regex(constraint.regex))
    if constraint.lark is not None:
        if "%json" in constraint.lark:
            raise InvalidArgument("constraint.lark contains %json; give such a part as Lark rules", field="lark")
        return str(LLMatcher.grammar_from_lark(constraint.lark))
    words = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in constraint.choices)
    return str(LLMatcher.grammar_from_lark(f"start: CHOICE\nCHOICE: {words}"))


def _schema(text: str) -> dict[str, Any]:
    field = "constraint.json_schema"
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON: {error}"
        raise InvalidArgument(f"{field} {why}", field=field) from None
    if not isinstance(schema, dict):
        raise InvalidArgument(f"{field} is not a JSON object", field=field)
    try:
        multiple = math.prod({Fraction(str(value)).numerator for value in _multiples(schema)})
    except ValueError:
        multiple = 0  # NaN or infinity; the compiler says what is wrong with it
    if multiple > LARGEST_MULTIPLE:
        raise InvalidArgument(
            f"{field} asks for multiples of {multiple} (all multipleOf together); the limit is {LARGEST_MULTIPLE}",
            field=field,
            limit=LARGEST_MULTIPLE,
        )
    return schema


def _multiples(node: Any) -> Iterator[int | float]:
    """Every number that stands at a key `multipleOf`."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            multiple = one.get("multipleOf")
            if isinstance(multiple, int | float):
                yield multiple
            waiting.extend(one.values())
