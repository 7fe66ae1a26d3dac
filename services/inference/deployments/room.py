"""Who gives way when a version needs memory that others hold."""

from collections.abc import Collection, Set

from services.inference.deployments.deployment import Deployment, State
from services.inference.models.lineage import Key
from shared.errors import ResourceExhausted

RETRY_SECONDS = 5.0


def may_go(deployments: Collection[Deployment], needed: Set[Key], previous: Set[Key]) -> list[Deployment]:
    """In the order in which they go: those on their way out, then the least used, versions kept for rollback last.

    `needed` are the versions that aliases and traffic name; those and pinned ones never go.
    """
    loaded = [one for one in deployments if one.served is not None and one.state is not State.LOADING]
    found = [one for one in loaded if one.state is State.DRAINING or not (one.pinned or one.key in needed)]
    return sorted(found, key=lambda one: (one.state is not State.DRAINING, one.key in previous, one.last_used))


def no_room(key: Key, need: int, free: int, limit: int, why: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"{key} needs {_size(need)}, {_size(max(free, 0))} of {_size(limit)} are free and {why}; "
        "unload a version, or raise FLYWHEEL_MEMORY_BYTES",
        RETRY_SECONDS,
        need=need,
        free=max(free, 0),
        limit=limit,
    )


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**17 else f"{count:,} bytes"
