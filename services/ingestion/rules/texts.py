"""What somebody wrote, wherever in a row it stands: plain fields, lists of texts, messages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

WORDS = "tokens"
"""A field that holds one text, cut into words."""


class Text(NamedTuple):
    """One text of a row. `place` leads to it: a field, then the position in its list, then `content` of a message."""

    place: tuple[str | int, ...]
    text: str

    @property
    def field(self) -> str:
        name, *inside = self.place
        return str(name) + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in inside)


def texts_of(row: Mapping[str, Any], fields: Sequence[str]) -> list[Text]:
    """The texts of these fields; what is no text is passed over, for the schema refuses it."""
    found: list[Text] = []
    for field in fields:
        value = row.get(field)
        if isinstance(value, str):
            found.append(Text((field,), value))
        elif isinstance(value, list | tuple):
            found += _listed(field, value)
    return found


def whole_text(row: Mapping[str, Any], fields: Sequence[str]) -> str:
    """The texts of these fields, one after another."""
    values = [value for field in fields if (value := row.get(field)) is not None]
    if len(values) == 1 and type(values[0]) is str:
        return values[0]
    return "\n".join(text for _, text in texts_of(row, fields))


def with_texts(row: Mapping[str, Any], changes: Sequence[Text]) -> dict[str, Any]:
    """The row with other texts at their places; what was given stays as it is."""
    made = dict(row)
    for place, text in changes:
        field, *inside = place
        made[str(field)] = _put(made[str(field)], inside, text) if inside else text
    return made


def _listed(field: str, values: Sequence[Any]) -> list[Text]:
    if field == WORDS:
        return [Text((field,), " ".join(word for word in values if isinstance(word, str)))]
    found: list[Text] = []
    for position, value in enumerate(values):
        if isinstance(value, str):
            found.append(Text((field, position), value))
        elif isinstance(value, Mapping) and isinstance(value.get("content"), str):
            found.append(Text((field, position, "content"), value["content"]))
    return found


def _put(values: Sequence[Any], inside: Sequence[str | int], text: str) -> list[Any]:
    position, made = int(inside[0]), list(values)
    made[position] = text if len(inside) == 1 else {**made[position], str(inside[1]): text}
    return made
