"""Every key of a pipeline file with its meaning and default, and every method with its defaults, from the schema itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from shared.errors import InvalidArgument
from shared.pipelines.kinds import KINDS
from shared.pipelines.method_defaults import refusal
from shared.pipelines.methods import EFFECTIVE_WITH, METHOD_NAMES, METHODS, MethodConfig
from shared.pipelines.reading import nested_model
from shared.pipelines.schema import PipelineSpec


@dataclass(frozen=True)
class Key:
    """One key: dotted path, meaning, default as text (empty: it must be given)."""

    path: str
    meaning: str
    default: str


@dataclass(frozen=True)
class MethodLine:
    """What a kind takes: a method with its defaults, or why it is refused."""

    kind: str
    method: str
    defaults: dict[str, Any]
    refused: str = ""


COMMON = ("learning_rate", "epochs", "batch_size", "max_length")


def explain_methods(kind: str | None = None) -> list[MethodLine]:
    """Every method for one kind, or for all. Raises InvalidArgument for a kind that is none."""
    if kind is not None and kind not in KINDS:
        raise InvalidArgument(f"kind: {kind!r} is unknown; known: {', '.join(KINDS)}", field="kind")
    return [_method_line(of, method) for of in ([kind] if kind else KINDS) for method in METHOD_NAMES]


def _method_line(kind: str, method: str) -> MethodLine:
    reason = refusal(kind, method)
    if reason is not None:
        return MethodLine(kind, method, {}, reason)
    own = tuple(key for key, methods in EFFECTIVE_WITH.items() if method in methods and key != "targets")
    config = METHODS[kind, method]
    return MethodLine(kind, method, {key: getattr(config, key) for key in (*COMMON, *own)})


def explain_pipeline() -> list[Key]:
    """All keys in the order of the file."""
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
    section, _, key = path.partition(".")
    tested = section == "method" and key in MethodConfig.model_fields and key != "name"
    if tested and len({getattr(config, key) for config in METHODS.values()}) > 1:
        return "depends on kind and method: flywheel explain methods"
    if factory is not None:
        return str(factory())
    return "" if default is PydanticUndefined else "none" if default is None else str(default)
