"""How each task kind is served; one file a kind."""

from collections.abc import Callable, Mapping

from services.inference.kinds import classification, generation
from services.inference.kinds.base import Resources, Served
from shared.errors import FailedPrecondition
from shared.modeling.loading import LoadedModel

_SERVERS: Mapping[str, Callable[[LoadedModel, Resources], Served]] = {
    "classification": classification.serve,
    "chat": generation.serve,
}


def serve(kind: str, loaded: LoadedModel, resources: Resources) -> Served:
    """A served model of the task kind. Raises FailedPrecondition for a kind that is not served."""
    server = _SERVERS.get(kind)
    if server is None:
        raise FailedPrecondition(f"no engine serves the task kind {kind!r}", kind=kind)
    return server(loaded, resources)
