"""Reading a pipeline file: YAML to PipelineSpec, every error with its line and what to do."""

import difflib
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from shared.errors import InvalidArgument
from shared.pipelines.schema import PipelineSpec

MAX_BYTES = 64 << 10
Path = tuple[str | int, ...]


def load_pipeline(text: str) -> PipelineSpec:
    """The pipeline that a YAML text declares.

    Raises InvalidArgument naming the field, its line and, for an unknown key, the nearest known one.
    """
    if len(text.encode()) > MAX_BYTES:
        raise InvalidArgument(f"a pipeline file holds at most {MAX_BYTES >> 10} KiB", field="yaml")
    root, given = _parse(text)
    lines = dict(_lines(root, ()))
    _refuse_unknown_keys(given, PipelineSpec, (), lines)
    try:
        return PipelineSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        path, message = first["loc"], first["msg"].removeprefix("Value error, ")
        if first["type"] == "value_error" and not path:  # a rule about the whole file names its field itself
            path = tuple(message.partition(":")[0].split("."))
            message = message.partition(": ")[2]
        elif first["type"] != "missing":
            message = f"{first['input']!r}: {message}"
        raise _error(path, message, lines) from None


def _parse(text: str) -> tuple[yaml.MappingNode, Any]:
    """The YAML as nodes, which know their lines, and as plain values."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise _at(event.start_mark, "write values out; *aliases are not read")
        root, given = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise _at(error.problem_mark, f"no valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"no valid YAML: {error}", field="yaml") from None
    except RecursionError:
        raise InvalidArgument("no valid pipeline file: nested too deep", field="yaml") from None
    if not isinstance(root, yaml.MappingNode):
        raise InvalidArgument("line 1: a pipeline file is a mapping, such as `name: sentiment`", field="yaml", line=1)
    return root, given


def _at(mark: Any, message: str) -> InvalidArgument:
    line = mark.line + 1 if mark else 1
    return InvalidArgument(f"line {line}: {message}", field="yaml", line=line)


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    """Path -> line, from 1. Raises InvalidArgument for a key given twice."""
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise InvalidArgument(
                    f"line {line}: {_dotted((*path, key.value))} is given twice", field=key.value, line=line
                )
            seen.add(key.value)
            yield from _lines(value, (*path, key.value))
            yield (*path, key.value), line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _refuse_unknown_keys(given: Any, model: type[BaseModel], path: Path, lines: dict[Path, int]) -> None:
    if not isinstance(given, dict):
        return
    for key, value in given.items():
        field = model.model_fields.get(str(key))
        if field is None:
            near = difflib.get_close_matches(str(key), model.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(model.model_fields)}"
            raise _error((*path, key), f"unknown key; {hint}", lines)
        inner = nested_model(field.annotation)
        if inner is not None:
            _refuse_unknown_keys(value, inner, (*path, key), lines)


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model behind `Model` or `Model | None`; None for anything else."""
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _error(path: Path, message: str, lines: dict[Path, int]) -> InvalidArgument:
    known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in lines)
    where = f"{_dotted(path)}: " if path else ""
    return InvalidArgument(f"line {lines[known]}: {where}{message}", field=_dotted(path), line=lines[known])


def _dotted(path: Path) -> str:
    return ".".join(str(key) for key in path)
