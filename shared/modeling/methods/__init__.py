"""Methods by name."""

from shared.errors import InvalidArgument
from shared.modeling.methods.base import Method
from shared.modeling.methods.full import Full
from shared.modeling.methods.lora import Lora

METHODS: dict[str, Method] = {method.name: method for method in (Full(), Lora())}


def find_method(name: str) -> Method:
    """Raises InvalidArgument naming the known methods."""
    if name not in METHODS:
        raise InvalidArgument(f"method: {name!r} is unknown; known: {', '.join(METHODS)}", field="method")
    return METHODS[name]
