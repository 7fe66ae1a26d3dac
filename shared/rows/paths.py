"""Finding a field in a product's row."""

from collections.abc import Mapping
from typing import Any

MISSING: Any = object()


def find(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a path; dots reach inside. MISSING when there is none, or null."""
    value: Any = fields
    if path in fields:
        value = fields[path]
    else:
        for step in path.split("."):
            if not isinstance(value, Mapping) or step not in value:
                return MISSING
            value = value[step]
    return MISSING if value is None else value
