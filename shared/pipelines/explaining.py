"""Every key of a pipeline file with its meaning and default, from the schema itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from shared.pipelines.methods import METHODS
from shared.pipelines.reading import nested_model
from shared.pipelines.schema import PipelineSpec


@dataclass(frozen=True)
class Key:
    """One key: dotted path, meaning, default as text (empty: it must be given)."""

    path: str
    meaning: str
    default: str


def explain_pipeline() -> list[Key]:
    """All keys in the order of the file; a method's defaults are named per kind and method."""
    return list(_keys(PipelineSpec, ""))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = prefix + name
        inner = nested_model(field.annotation)
        default = "" if inner else _default(path, field.default, field.default_factory)
        yield Key(path, field.description or "", default)
        if inner is not None:
            yield from _keys(inner, path + ".")


def _default(path: str, default: Any, factory: Any) -> str:
    if path.startswith("method.") and path != "method.name":
        key = path.removeprefix("method.")
        values = {f"{kind}/{method}": getattr(config, key) for (kind, method), config in METHODS.items()}
        if len(set(values.values())) > 1:
            return ", ".join(f"{value} ({of})" for of, value in values.items())
    if factory is not None:
        return str(factory())
    return "" if default is PydanticUndefined else "none" if default is None else str(default)
