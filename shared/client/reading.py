"""Protobuf messages to the client's dataclasses, by field name.

Timestamps become datetimes (UTC), durations seconds, structs dicts, enums their plain lower-case word, and
an optional field that is unset becomes None.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

T = TypeVar("T")


def read(kind: type[T], message: Message) -> T:
    """The dataclass `kind` filled from the fields of the same names."""
    assert is_dataclass(kind)
    by_name = message.DESCRIPTOR.fields_by_name
    hints = _hints(kind)
    return kind(**{field.name: _field(message, by_name[field.name], hints[field.name]) for field in fields(kind)})


def struct(values: Mapping[str, Any]) -> Struct:
    """A Struct of plain values. Raises ValueError for what JSON can't hold."""
    made = Struct()
    try:
        ParseDict(dict(values), made)
    except Exception as error:
        raise ValueError(f"a row holds only text, numbers, booleans, null, lists and mappings: {error}") from None
    return made


def moment(stamp: Timestamp) -> datetime | None:
    return stamp.ToDatetime(UTC) if stamp.seconds or stamp.nanos else None


def enum_word(descriptor: FieldDescriptor, number: int) -> str:
    """JOB_STATE_RUNNING of enum JobState is `running`; unset is empty."""
    enum = descriptor.enum_type
    assert enum is not None
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    return "" if number == 0 else value.name.removeprefix(prefix).lower()


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _field(message: Message, descriptor: Any, hint: Any) -> Any:
    value = getattr(message, descriptor.name)
    if _is_map(descriptor):
        return dict(value)
    if descriptor.is_repeated:
        return tuple(_value(descriptor, item, get_args(hint)[0]) for item in value)
    if descriptor.has_presence and not message.HasField(descriptor.name) and _optional(hint):
        return None
    return _value(descriptor, value, hint)


def _value(descriptor: FieldDescriptor, value: Any, hint: Any) -> Any:
    if descriptor.enum_type is not None:
        return enum_word(descriptor, value)
    if isinstance(value, Timestamp):
        return moment(value)
    if isinstance(value, Duration):
        return value.ToNanoseconds() / 1e9
    if isinstance(value, Struct):
        return MessageToDict(value)
    if isinstance(value, Message):
        return read(next(kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), value)  # type: ignore[arg-type]
    return value


def _is_map(descriptor: FieldDescriptor) -> bool:
    kind = descriptor.message_type
    return bool(descriptor.is_repeated and kind is not None and kind.GetOptions().map_entry)


def _optional(hint: Any) -> bool:
    return type(None) in get_args(hint)
