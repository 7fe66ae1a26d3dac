"""From the model a client names to the loaded version that answers, or the reason why none does."""

import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from services.inference.answering.requests import ModelRef
from services.inference.answering.running import Running
from services.inference.answering.shadowing import Compare, Shadows
from services.inference.deployments.deployment import State
from services.inference.deployments.following import Follower
from services.inference.deployments.registry import Registry
from services.inference.kinds import answers, kind_of_base, kinds_with, methods_of
from services.inference.kinds.base import Served
from services.inference.models.catalogue import Snapshot
from services.inference.models.lineage import BASE, BASE_VERSION, CANDIDATE, CHAMPION, Key, Lineage
from shared.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from shared.storage.ids import new_id
from shared.telemetry import metrics

Kind = TypeVar("Kind")
ALIASES = (CHAMPION, CANDIDATE, BASE)
ATTEMPTS = 3  # a version may leave between being found and being held


class Models:
    """Finds who answers. `refuse` makes it turn away all new requests."""

    def __init__(self, registry: Registry, follower: Follower, shadows: Shadows) -> None:
        self._registry = registry
        self._follower = follower
        self._shadows = shadows
        self._refusing = False
        self.running = Running()

    def refuse(self) -> None:
        self._refusing = True

    @property
    def ready(self) -> bool:
        """Whether new requests are taken."""
        return not self._refusing and self._follower.snapshot is not None

    @contextmanager
    def hold(
        self, ref: ModelRef, kind: type[Kind], deadline: float, request_id: str = ""
    ) -> Iterator[tuple[Kind, Lineage]]:
        """Keeps the version loaded while the block runs. The request id decides where shares of traffic go; `kind` is
        a class of kinds, or a capability of several.

        Raises NotFound, FailedPrecondition (no champion yet, wrong kind), ResourceExhausted (no memory for it) or
        Unavailable (loading, draining).
        """
        with self.hold_any(ref, deadline, kind, request_id) as (served, lineage):
            if not isinstance(served, kind):
                raise _wrong_kind(ref.name, served.kind, kind, lineage.version == BASE_VERSION)
            yield served, lineage

    @contextmanager
    def hold_any(
        self, ref: ModelRef, deadline: float, kind: type | None = None, request_id: str = ""
    ) -> Iterator[tuple[Served, Lineage]]:
        """As `hold`, whatever the kind; `kind` only saves the loading of one that will not do."""
        with ExitStack() as stack:
            yield self._enter(stack, ref, deadline, kind, request_id or new_id("request"))

    def copy(self, ref: ModelRef, request_id: str, kind: type[Kind], compare: Compare) -> None:
        """Gives a request that was answered to the shadows of its model; returns at once."""
        if ref.alias == CHAMPION and not ref.version:
            for key in self._registry.shadows(ref.name, request_id):
                self._shadows.offer(key, kind, compare)

    def load(self, ref: ModelRef, deadline: float) -> Key:
        """Loads a version, if need be, and waits until it answers."""
        return self._ready(ref, None, deadline, "")

    def key_of(self, ref: ModelRef, request_id: str = "") -> Key:
        """The version meant, held or not; with a request id, the one that a share of the traffic gives it to.

        Raises as `hold` does.
        """
        if ref.version:
            return Key(ref.name, ref.version)
        if ref.alias == BASE:
            return Key(ref.name, BASE_VERSION)
        return self._serving(ref, request_id) or self._explain(ref)

    def check_known(self, model: str) -> None:
        """Raises NotFound, naming what there is, for a model that nobody declared."""
        snapshot = self._snapshot()
        if model not in snapshot.known:
            raise self._unknown(snapshot, model)

    def _enter(
        self, stack: ExitStack, ref: ModelRef, deadline: float, kind: type | None, request_id: str
    ) -> tuple[Served, Lineage]:
        for attempt in range(1, ATTEMPTS + 1):
            key = self._ready(ref, kind, deadline, request_id)
            try:
                return stack.enter_context(self._registry.hold(partial(self._now, ref, key, request_id)))
            except Unavailable:
                if attempt == ATTEMPTS:
                    metrics.INFERENCE_SWAP_DROPPED.labels(ref.name).inc()
                    raise
        raise AssertionError

    def _now(self, ref: ModelRef, key: Key, request_id: str) -> Key:
        """The alias may have moved since it was looked at; the newest wins."""
        moved = None if ref.version else self._serving(ref, request_id)
        return moved or key

    def _serving(self, ref: ModelRef, request_id: str) -> Key | None:
        return (
            self._registry.route(ref.name, ref.alias, request_id)
            if request_id
            else self._registry.serving(ref.name, ref.alias)
        )

    def _ready(self, ref: ModelRef, kind: type | None, deadline: float, request_id: str) -> Key:
        if self._refusing:
            raise Unavailable("this server is shutting down; another one answers", retry_seconds=1.0)
        if not ref.name:
            raise InvalidArgument("model.name is empty", field="model.name")
        if ref.version < 0:
            raise InvalidArgument(f"model.version is {ref.version}; versions begin at 1", field="model.version")
        key = self.key_of(ref, request_id)
        if not self._registry.answers(key):
            self._load(ref, key, kind, deadline)
        return key

    def _load(self, ref: ModelRef, key: Key, kind: type | None, deadline: float) -> None:
        snapshot = self._snapshot()
        if ref.name not in snapshot.known:
            raise self._unknown(snapshot, ref.name)
        declared = snapshot.kinds.get(ref.name)
        if declared is not None and kind is not None:
            _check_kind(ref.name, declared, key, kind)
        try:
            self._follower.ensure(key).result(timeout=max(deadline - time.monotonic(), 0))
        except FutureTimeout:
            raise DeadlineExceeded(f"the deadline passed while {key} was being loaded") from None
        held = self._registry.state(key)
        if held is not None and held.exhausted:
            raise ResourceExhausted(held.error, retry_seconds=5.0)
        if held is not None and held.state is State.FAILED:
            raise Unavailable(f"{key} could not be loaded: {held.error}", retry_seconds=5.0)

    def _explain(self, ref: ModelRef) -> Key:
        """Raises why an alias answers nothing."""
        snapshot = self._snapshot()
        if (ref.name, ref.alias) not in snapshot.aliases:  # it may have been moved there a moment ago
            snapshot = self._follower.look() or snapshot
        if ref.name not in snapshot.known:
            raise self._unknown(snapshot, ref.name)
        if ref.alias not in ALIASES:
            raise NotFound(f"no alias {ref.alias!r}; aliases are {', '.join(ALIASES)}", alias=ref.alias)
        target = snapshot.aliases.get((ref.name, ref.alias))
        if target is None:
            raise FailedPrecondition(f"model {ref.name!r} has no {ref.alias} yet", model=ref.name)
        held = self._registry.state(Key(ref.name, target.version))
        why = f"could not be loaded: {held.error}" if held and held.error else "is being loaded"
        raise Unavailable(f"{ref.name} version {target.version} {why}", retry_seconds=1.0)

    def _snapshot(self) -> Snapshot:
        if self._follower.snapshot is None:
            raise Unavailable("this server is starting", retry_seconds=0.5)
        return self._follower.snapshot

    def _unknown(self, snapshot: Snapshot, name: str) -> NotFound:
        there = f"there are {', '.join(snapshot.known[:20])}" if snapshot.known else "there is none yet"
        return NotFound(f"no model {name!r}; {there}", model=name)


def _check_kind(name: str, declared: str, key: Key, wanted: type) -> None:
    base = key.version == BASE_VERSION
    found = kind_of_base(declared) if base else declared
    if not answers(found, wanted):
        raise _wrong_kind(name, found, wanted, base)


def _wrong_kind(name: str, found: str, wanted: type, base: bool) -> FailedPrecondition:
    what = f"the base model of {name!r} has no head before it is trained: it" if base else f"model {name!r}"
    return FailedPrecondition(
        f"{what} is of kind {found}, which answers {', '.join(methods_of(found))}; "
        f"this method needs kind {' or '.join(kinds_with(wanted))}",
        model=name,
        kind=found,
    )
