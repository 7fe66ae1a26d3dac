"""A served model without a model."""

from datetime import UTC, datetime

from services.inference.deployments.registry import Registry
from services.inference.engine.interface import Load
from services.inference.models.lineage import Key, Lineage, VersionRecord

BYTES = 100


class FakeServed:
    """Takes 100 bytes, closes when told to, and remembers it."""

    kind = "classification"
    engine_name = "fake"
    tokenizer = None
    memory_bytes = BYTES

    def __init__(self) -> None:
        self.closed = False
        self.healthy = True
        self.waiting = 0

    def probe(self) -> None: ...

    def load(self) -> Load:
        return Load(waiting=self.waiting)

    def close(self, grace_seconds: float = 0.0) -> None:
        self.closed = True


def held(registry: Registry, version: int, on_demand: bool = False, model: str = "mood") -> tuple[Key, FakeServed]:
    """A version that is loaded."""
    key, served = Key(model, version), FakeServed()
    assert registry.start_loading(VersionRecord(key, "classification", "base"), on_demand)
    registry.loaded(key, served, Lineage(model, version), datetime.now(UTC))  # type: ignore[arg-type]
    return key, served
