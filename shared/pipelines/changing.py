"""One job's own values for keys of its pipeline: `method.learning_rate` and the like, checked as a pipeline file is."""

import difflib
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from shared.errors import InvalidArgument
from shared.pipelines.reading import nested_model
from shared.pipelines.schema import PipelineSpec

OF_THE_PIPELINE = ("name", "kind", "labels", "data", "trigger", "gate", "rollout", "search")
"""Keys that are not one job's to change: rows, judging and service hang on them."""


def changed_spec(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> PipelineSpec:
    """A pipeline's spec with other values for some keys, given by dotted path.

    A changed `method.name` begins with the tested defaults of that method, not with the values of the old one.
    Raises InvalidArgument naming the key, and the nearest known one where it is unknown.
    """
    flat = dict(_flat(changes, ""))
    for path in flat:
        _check_key(path)
    wanted: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in spec.items()}
    if "method.name" in flat and flat["method.name"] != wanted["method"]["name"]:
        wanted["method"] = {}
    for path, value in flat.items():
        *parents, key = path.split(".")
        inner = wanted
        for parent in parents:
            inner[parent] = dict(inner.get(parent) or {})  # a copy: what is given stays as it is
            inner = inner[parent]
        inner[key] = value
    try:
        return PipelineSpec.model_validate(wanted)
    except ValidationError as error:
        first = error.errors()[0]
        path, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if not path:  # a rule about several keys names its field itself
            path, _, message = message.partition(": ")
        elif first["type"] != "missing":
            message = f"{first['input']!r}: {message}"
        raise InvalidArgument(f"{path}: {message}", field=path) from None


def parse_value(text: str) -> Any:
    """A value as a pipeline file would say it. Raises InvalidArgument."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InvalidArgument(f"{text!r} is no value that a pipeline file could hold") from None


def _flat(changes: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Nested mappings as dotted paths."""
    found: list[tuple[str, Any]] = []
    for key, value in changes.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found += _flat(value, f"{path}.")
        else:
            found.append((path, value))
    return found


def _check_key(path: str) -> None:
    root = path.partition(".")[0]
    if root in OF_THE_PIPELINE:
        raise InvalidArgument(f"{path}: belongs to the pipeline, not to one job; change the pipeline", field=path)
    model: Any = PipelineSpec
    for depth, key in enumerate(path.split(".")):
        field = model.model_fields.get(key) if model else None
        if field is None:
            known = [name for name in model.model_fields if depth or name not in OF_THE_PIPELINE] if model else []
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known) or 'none'}"
            raise InvalidArgument(f"{path}: unknown key; {hint}", field=path)
        model = nested_model(field.annotation)
    if model is not None:
        raise InvalidArgument(f"{path}: is a group of keys; name one, such as {path}.{next(iter(model.model_fields))}")
