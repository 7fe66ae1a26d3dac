"""What every call passes before its servicer: who calls, is there room, and how errors leave."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from structlog.contextvars import bind_contextvars

from shared.errors import FlywheelError, Unauthenticated
from shared.rpc import callers
from shared.rpc.access import Rule, check_role, rule_of
from shared.rpc.callers import ANYONE, Caller
from shared.rpc.keys import KeyRing
from shared.rpc.passage import Passage, Places, guarded, refused
from shared.rpc.watchdog import Watchdog

OPEN_PLACES = 16
"""Calls at once of what is open to everybody: apart, so that strangers take no place of a tenant."""
OPEN_SECONDS = 30.0
"""The longest of them; reflection is a stream, and its client may keep it open."""


class Guard(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """One interceptor for all of it: each of its own would wrap every call once more.

    In order: key, role, a place in the server, the tenant's quota, the watchdog, then the request's model and priority.
    """

    def __init__(
        self, keys: KeyRing | None, places: int, watchdog: Watchdog, longest: float, by_service: Mapping[str, float]
    ) -> None:
        """`longest` is how many seconds a call lasts at most; `by_service` where a service has its own limit."""
        self._keys, self._watchdog = keys, watchdog
        self._places, self._open_places = Places(places), Places(OPEN_PLACES)
        self._longest, self._by_service = longest, by_service
        self._rules: dict[str, Rule] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        call = details.method
        rule = self._rules.get(call) or self._rules.setdefault(call, rule_of(call))
        if rule.role is None:
            return guarded(handler, Passage(call, rule, ANYONE, self._open_places, self._watchdog, OPEN_SECONDS))
        caller = ANYONE
        if self._keys is not None:
            try:
                caller = _identify(self._keys, details.invocation_metadata)
                check_role(caller, rule, call)
            except FlywheelError as error:
                return refused(error)
            callers.current.set(caller)
            bind_contextvars(tenant=caller.tenant)  # for the log; gRPC gives each call a context of its own
        return guarded(handler, Passage(call, rule, caller, self._places, self._watchdog, self._seconds_for(call)))

    def _seconds_for(self, call: str) -> float:
        return min(self._by_service.get(call[1:].partition("/")[0], self._longest), self._longest)


def _identify(keys: KeyRing, metadata: Any) -> Caller:
    """Raises Unauthenticated."""
    shown = ""
    for name, value in metadata or ():
        if name == "authorization":
            scheme, _, shown = str(value).partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthenticated("the metadata authorization must be `Bearer KEY`")
        elif name == "x-api-key" and not shown:
            shown = str(value)
    if not shown:
        raise Unauthenticated("this server wants an API key: set FLYWHEEL_API_KEY, or send `authorization: Bearer KEY`")
    caller = keys.find(shown.strip())
    if caller is None:
        raise Unauthenticated("this server does not know the API key")
    return caller
