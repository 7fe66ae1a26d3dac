"""Which versions this server holds and which of them answers for an alias.

A request holds its deployment while it runs, so a switch never takes the weights away under it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from datetime import datetime

from services.inference.deployments.deployment import Deployment, DeploymentView, State, view
from services.inference.deployments.room import may_go, no_room
from services.inference.kinds.base import Served
from services.inference.models.lineage import CHAMPION, Key, Lineage, VersionRecord
from services.inference.models.traffic import Traffic
from shared.errors import FailedPrecondition, Unavailable

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0


class Registry:
    """Safe for threads. `changed` is told after every change, outside the lock."""

    def __init__(self, changed: Callable[[DeploymentView], None] = lambda deployment: None) -> None:
        self._lock = threading.Condition()
        self._deployments: dict[Key, Deployment] = {}
        self._aliases: dict[tuple[str, str], Key] = {}
        self._previous: dict[str, Key] = {}
        self._traffic: Mapping[str, Traffic] = {}
        self._changed = changed
        self._revision = 0

    def serving(self, model: str, alias: str) -> Key | None:
        """Who answers for an alias now."""
        with self._lock:
            return self._aliases.get((model, alias))

    def route(self, model: str, alias: str, request_id: str) -> Key | None:
        """Who answers this request for an alias: for the champion one that has a share of its traffic, if it can."""
        with self._lock:
            traffic = self._traffic.get(model) if alias == CHAMPION else None
            chosen = traffic.chosen(request_id) if traffic else None
            if chosen is not None:
                deployment = self._deployments.get(Key(model, chosen))
                if deployment is not None and deployment.answers and deployment.healthy:
                    return deployment.key
            return self._aliases.get((model, alias))

    def shadows(self, model: str, request_id: str) -> list[Key]:
        """Who gets a copy of a request for the champion."""
        traffic = self._traffic.get(model)
        return [Key(model, version) for version in traffic.copied(request_id)] if traffic else []

    def share(self, traffic: Mapping[str, Traffic]) -> None:
        """Requests are shared like this from now on."""
        with self._lock:
            if traffic == self._traffic:
                return
            self._traffic = traffic
            seen = [view(one, self._traffic.get(one.key.model)) for one in self._deployments.values()]
            self._revision += 1
            self._lock.notify_all()
        for one in seen:
            self._changed(one)

    def answers(self, key: Key) -> bool:
        with self._lock:
            found = self._deployments.get(key)
            return found is not None and found.answers

    def healthy(self, model: str) -> bool:
        """Whether the champion of a model can answer."""
        with self._lock:
            deployment = self._deployments.get(self._aliases.get((model, CHAMPION), Key("", 0)))
            return deployment is not None and deployment.answers and deployment.healthy

    def champions(self) -> list[str]:
        """Models that have a champion here."""
        with self._lock:
            return [model for model, alias in self._aliases if alias == CHAMPION]

    def check_health(self) -> None:
        """Looks whether the engines are alive, and tells of those that died or came back."""
        with self._lock:
            changed = [one for one in self._deployments.values() if one.served and one.healthy != one.served.healthy]
            for one in changed:
                one.healthy = not one.healthy
        for one in changed:
            self._tell(one)

    def state(self, key: Key) -> DeploymentView | None:
        with self._lock:
            found = self._deployments.get(key)
            return self._view(found) if found else None

    @contextmanager
    def hold(self, find: Callable[[], Key]) -> Iterator[tuple[Served, Lineage]]:
        """Keeps the deployment that `find` names loaded while the block runs. Raises Unavailable when it is gone."""
        with self._lock:
            key = find()
            deployment = self._deployments.get(key)
            if deployment is None or not deployment.answers or deployment.served is None:
                raise Unavailable(f"{key} was unloaded a moment ago", retry_seconds=0.5)
            deployment.in_flight += 1
            deployment.last_used = time.monotonic()
        try:
            yield deployment.served, deployment.lineage
        finally:
            with self._lock:
                deployment.in_flight -= 1
                self._lock.notify_all()

    def views(self) -> list[DeploymentView]:
        with self._lock:
            return [self._view(self._deployments[key]) for key in sorted(self._deployments)]

    def served(self) -> list[tuple[Key, Served]]:
        with self._lock:
            return [(key, one.served) for key, one in self._deployments.items() if one.served]

    def wait_for_change(self, seen: int, timeout: float) -> int:
        """Blocks until something changed after revision `seen`, or the timeout; returns the revision."""
        with self._lock:
            self._lock.wait_for(lambda: self._revision > seen, timeout)
            return self._revision

    def start_loading(self, record: VersionRecord, on_demand: bool = False) -> bool:
        """Notes that a version is being loaded; False when it is held already or failed a moment ago.

        One that was on its way out stays.
        """
        with self._lock:
            known = self._deployments.get(record.key)
            if known is not None and known.state is State.DRAINING:
                known.state, known.on_demand = State.WARM, on_demand
            if known is not None and (known.state is not State.FAILED or time.monotonic() < known.retry_at):
                return False
            deployment = Deployment(record, lineage=record.lineage, on_demand=on_demand)
            if known is not None:
                deployment.failures = known.failures
            self._deployments[record.key] = deployment
        self._tell(deployment)
        return True

    def loaded(self, key: Key, served: Served, lineage: Lineage, at: datetime) -> None:
        with self._lock:
            deployment = self._deployments[key]
            deployment.state, deployment.served, deployment.lineage = State.READY, served, lineage
            deployment.error, deployment.failures, deployment.ready_at = "", 0, at
            deployment.last_used = time.monotonic()
        self._tell(deployment)

    def failed(self, key: Key, error: str, exhausted: bool = False) -> None:
        """The version is tried again after a while, each time a longer one; `exhausted` for want of memory."""
        with self._lock:
            deployment = self._deployments[key]
            wait = min(FIRST_RETRY_SECONDS * 2**deployment.failures, LAST_RETRY_SECONDS)
            deployment.state, deployment.error, deployment.exhausted = State.FAILED, error, exhausted
            deployment.failures += 1
            deployment.retry_at = time.monotonic() + wait
        self._tell(deployment)

    def switch(self, key: Key, alias: str, swap_seconds: float | None) -> None:
        """New requests for the alias go to `key` from now on; the one before stays loaded, for rollback."""
        with self._lock:
            deployment = self._deployments[key]
            assert deployment.answers
            before = self._aliases.get((key.model, alias))
            self._aliases[key.model, alias] = key
            deployment.aliases.add(alias)
            deployment.state = State.READY
            deployment.swap_seconds = swap_seconds
            old = self._deployments.get(before) if before and before != key else None
            if old is not None:
                self._unbind(old, alias)
                if alias == CHAMPION:
                    self._previous[key.model] = old.key
        for one in (deployment, old):
            if one is not None:
                self._tell(one)

    def release_alias(self, model: str, alias: str) -> None:
        """The alias points at nothing any more."""
        with self._lock:
            key = self._aliases.pop((model, alias))
            deployment = self._deployments[key]
            self._unbind(deployment, alias)
        self._tell(deployment)

    def pointed_at(self) -> dict[tuple[str, str], Key]:
        with self._lock:
            return dict(self._aliases)

    def superfluous(self, targets: Set[Key]) -> list[Key]:
        """Versions that came for an alias or a share, and that nothing (here or in `targets`) needs any more.

        What was asked for by a request or an operator stays until its memory is needed.
        """
        with self._lock:
            needed = {*targets, *self._aliases.values(), *self._previous.values()}
            return [
                one.key
                for one in self._deployments.values()
                if one.state is State.DRAINING
                or (one.state is not State.LOADING and one.key not in needed and not one.pinned and not one.on_demand)
            ]

    def is_busy(self) -> bool:
        """Whether a request runs. Takes no lock: who asks may be anywhere."""
        return any(one.in_flight for one in tuple(self._deployments.values()))

    def memory_bytes(self) -> int:
        """What all loaded versions take."""
        with self._lock:
            return self._used()

    def make_room(self, key: Key, need: int, limit: int, targets: Set[Key], seconds: float) -> list[Key]:
        """Unloads what is needed least until `need` of `limit` bytes are free; returns what went.

        Waits so long for the requests of what goes. Raises ResourceExhausted, before anything goes where it is
        clear that it will not do.
        """
        until, gone = time.monotonic() + seconds, list[Key]()
        while True:
            with self._lock:
                free = limit - self._used()
                if need <= free:
                    return gone
                needed = {*targets, *self._aliases.values(), key}
                victims = may_go(self._deployments.values(), needed, set(self._previous.values()))
                if need > free + sum(one.memory_bytes for one in victims) or not victims:
                    raise no_room(key, need, free, limit, "what holds the rest is in use or pinned")
                victim = victims[0]
            if not self.free(victim.key) and not self._wait_for(victim, until):
                raise no_room(key, need, free, limit, f"{victim.key} still answers requests")
            gone.append(victim.key)

    def free(self, key: Key) -> bool:
        """Unload a version that no request holds; one that is held takes no new requests and is freed later."""
        with self._lock:
            deployment = self._deployments.get(key)
            if deployment is None:
                return True
            idle = deployment.in_flight == 0
            before = deployment.state
            deployment.state = State.UNLOADED if idle else State.DRAINING
            if idle:
                del self._deployments[key]
                self._previous = {model: kept for model, kept in self._previous.items() if kept != key}
        if deployment.state is not before:
            self._tell(deployment)
        if idle and deployment.served is not None:
            deployment.served.close()
            deployment.served = None
        return idle

    def pin(self, key: Key, pinned: bool) -> None:
        """An operator's wish to keep a version loaded, or no longer."""
        with self._lock:
            deployment = self._deployments.get(key)
            if deployment is None or deployment.pinned == pinned:
                return
            deployment.pinned = pinned
        self._tell(deployment)

    def unload(self, key: Key) -> DeploymentView:
        """An operator's wish. Raises FailedPrecondition while an alias or traffic names the version."""
        with self._lock:
            deployment = self._deployments[key]
            if deployment.aliases:
                aliases = ", ".join(sorted(deployment.aliases))
                raise FailedPrecondition(f"{key} answers for {aliases}; move the alias first")
            traffic = self._traffic.get(key.model)
            if traffic and key.version in traffic.versions:
                raise FailedPrecondition(f"{key} has a share of the traffic; take it away with SetTraffic first")
            if deployment.state is State.LOADING:
                raise FailedPrecondition(f"{key} is being loaded")
            deployment.pinned = deployment.on_demand = False
        self.free(key)
        return view(deployment)

    def wait_idle(self, seconds: float) -> int:
        """Waits until no request runs, at most so long; returns how many still do."""
        with self._lock:
            self._lock.wait_for(lambda: not self._in_flight(), seconds)
            return self._in_flight()

    def close(self) -> None:
        """Unload everything; requests that still run end with CANCELLED."""
        with self._lock:
            left = list(self._deployments.values())
            self._deployments.clear()
            self._aliases.clear()
        for deployment in left:
            if deployment.served is not None:
                deployment.served.close()

    def _wait_for(self, victim: Deployment, until: float) -> bool:
        """Whether a version on its way out was freed, or wanted again, in time."""
        with self._lock:
            self._lock.wait_for(lambda: victim.in_flight == 0, max(until - time.monotonic(), 0))
            if victim.state is not State.DRAINING:
                return True
        return self.free(victim.key)

    def _view(self, deployment: Deployment) -> DeploymentView:
        return view(deployment, self._traffic.get(deployment.key.model))

    def _used(self) -> int:
        return sum(one.memory_bytes for one in self._deployments.values())

    def _in_flight(self) -> int:
        return sum(one.in_flight for one in self._deployments.values())

    def _unbind(self, deployment: Deployment, alias: str) -> None:
        deployment.aliases.discard(alias)
        if not deployment.aliases and deployment.state is State.READY:
            deployment.state = State.WARM

    def _tell(self, deployment: Deployment) -> None:
        with self._lock:
            self._revision += 1
            self._lock.notify_all()
            seen = self._view(deployment)
        self._changed(seen)
