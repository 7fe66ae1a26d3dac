"""Who makes the call that this thread answers."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from shared.rpc.quotas import Quota


class Role(StrEnum):
    """What a key may do."""

    CALL = "call"
    """Ask models: Inference, and the Open Inference Protocol but for its repository calls."""
    OPERATE = "operate"
    """Control, Serving, loading and unloading."""
    INGEST = "ingest"
    """Ingestion."""


@dataclass(frozen=True)
class Caller:
    """`models` are names of models and of pipelines; None means all."""

    tenant: str = ""
    roles: frozenset[Role] = frozenset(Role)
    models: frozenset[str] | None = None
    priority_max: int = 100
    quota: Quota | None = None

    @property
    def is_limited(self) -> bool:
        """Its messages have to be looked at."""
        return self.models is not None or self.priority_max < ANYONE.priority_max


ANYONE = Caller()
current: ContextVar[Caller] = ContextVar("caller", default=ANYONE)
"""gRPC gives each call a context of its own, so nothing has to be reset."""


def tenant() -> str:
    """Whose call it is; empty where no keys are configured. To be asked in the thread that answers the call."""
    return current.get().tenant


def charge(tokens: int) -> None:
    """Counts tokens against the caller's allowance a minute; to be called in the thread that answers the call."""
    quota = current.get().quota
    if quota is not None:
        quota.charge(tokens)


def again() -> None:
    """Counts one more request in a call that brings many. Raises ResourceExhausted."""
    quota = current.get().quota
    if quota is not None:
        quota.again()
