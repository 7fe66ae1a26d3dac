"""Task kinds by name."""

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import Kind
from shared.modeling.kinds.chat import Chat
from shared.modeling.kinds.classification import Classification

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Classification(), Chat())}


def find_kind(name: str) -> Kind:
    """Raises InvalidArgument naming the known kinds."""
    if name not in KINDS:
        raise InvalidArgument(f"kind: {name!r} is unknown; known: {', '.join(KINDS)}", field="kind")
    return KINDS[name]
