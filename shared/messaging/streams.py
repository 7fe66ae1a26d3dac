"""Redis Streams, read as one consumer of a group: entries are delivered to one, and again until they are acknowledged."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis import RedisError, ResponseError

from shared.config import Settings
from shared.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from shared.messaging.broker import redis_client

PATIENCE_SECONDS = 15.0
FORGET_SECONDS = 24 * 3600
"""A consumer that holds nothing and was silent for so long is removed."""
BEGINNING, NOWHERE = "0", "0-0"
LARGEST_SEQUENCE = 2**64 - 1


class Entry(NamedTuple):
    """An entry of a stream."""

    id: str
    fields: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Standing:
    """Of a group: entries that nobody read yet, entries read and not acknowledged, and what is done for sure."""

    unread: int
    pending: int
    done: str
    """Every entry up to this id was acknowledged."""


@contextmanager
def stream_server(settings: Settings, name: str) -> Iterator[Any]:
    """A client of a server that the setting names; the broker without a name.

    Raises InvalidArgument for a name that is not there, Unavailable.
    """
    known = _servers(settings.stream_servers)
    if name and name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise InvalidArgument(f"redis: {name!r} is not in FLYWHEEL_STREAM_SERVERS, which names {listed}", field="redis")
    settings = settings.model_copy(update={"broker_url": known[name]}) if name else settings
    with redis_client(settings, PATIENCE_SECONDS) as client:
        yield client


class StreamGroup:
    """One consumer. Every method raises Unavailable when the server does not answer, NotFound when the group is gone,
    FailedPrecondition when the key holds no stream."""

    def __init__(self, client: Any, key: str, group: str, consumer: str) -> None:
        self._client, self._key, self._group, self._consumer = client, key, group, consumer

    def make(self, done: str) -> None:
        """Makes the group, and the stream, unless they are there. A lost group goes on after the entry `done`, unless the
        stream was begun anew since; without one it begins at the beginning."""
        with self._answering():
            try:
                self._client.xgroup_create(self._key, self._group, id=self._start(done), mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def read(self, count: int, seconds: float) -> list[Entry]:
        """New entries; waits so long for the first."""
        with self._answering():
            block = max(1, round(seconds * 1000))
            found = self._client.xreadgroup(self._group, self._consumer, {self._key: ">"}, count=count, block=block)
        streams = found.items() if isinstance(found, dict) else found or ()
        return [entry for _, entries in streams for entry in _entries(entries)]

    def claim(self, idle_seconds: float, count: int) -> list[Entry]:
        """Entries that a consumer was given so long ago that it must be dead."""
        idle, start = round(idle_seconds * 1000), BEGINNING
        found: list[Entry] = []
        with self._answering():
            while not found:
                start, claimed, *_ = self._client.xautoclaim(
                    self._key, self._group, self._consumer, idle, start, count=count
                )
                found = _entries(claimed)
                if gone := [id for id, fields in claimed if fields is None]:
                    self._client.xack(self._key, self._group, *gone)
                if _text(start) == NOWHERE:
                    break
        return found

    def keep(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that no other consumer has claimed; ours are held for as long again."""
        if not ids:
            return []
        with self._answering():
            first, last = min(ids, key=order), max(ids, key=order)
            held = self._client.xpending_range(self._key, self._group, first, last, count=max(1000, 10 * len(ids)))
            owners = {_text(one["message_id"]): _text(one["consumer"]) for one in held}
            mine = [id for id in ids if owners.get(id) == self._consumer]
            if mine:
                self._client.xclaim(self._key, self._group, self._consumer, 0, mine, justid=True)
        return [id for id in ids if owners.get(id, self._consumer) == self._consumer]

    def acknowledge(self, ids: Sequence[str]) -> None:
        """They are done; nobody gets them any more."""
        if ids:
            with self._answering():
                self._client.xack(self._key, self._group, *ids)

    def standing(self) -> Standing:
        with self._answering():
            groups = [_named(group) for group in self._client.xinfo_groups(self._key)]
            mine = next((group for group in groups if _text(group["name"]) == self._group), None)
            if mine is None:
                raise NotFound(f"stream {self._key!r} has no group {self._group!r}")
            oldest = self._client.xpending(self._key, self._group)["min"]
        delivered = _text(mine["last-delivered-id"])
        done = before(_text(oldest)) if oldest else delivered
        return Standing(int(mine.get("lag") or 0), int(mine["pending"]), done)

    def holders(self) -> set[str]:
        """Consumers that hold entries. Those that hold none and were silent for a day are removed."""
        with self._answering():
            found = [_named(consumer) for consumer in self._client.xinfo_consumers(self._key, self._group)]
            for consumer in found:
                if not consumer["pending"] and consumer["idle"] > FORGET_SECONDS * 1000:
                    self._client.xgroup_delconsumer(self._key, self._group, _text(consumer["name"]))
        return {_text(consumer["name"]) for consumer in found if consumer["pending"]}

    def _start(self, done: str) -> str:
        if not done or not self._client.exists(self._key):
            return BEGINNING
        last = _text(_named(self._client.xinfo_stream(self._key))["last-generated-id"])
        return done if order(last) >= order(done) else BEGINNING

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                raise NotFound(f"stream {self._key!r} has lost its group {self._group!r}") from None
            if "WRONGTYPE" in str(error):
                raise FailedPrecondition(f"the key {self._key!r} holds no stream", field="stream") from None
            raise Unavailable(f"the stream's server refuses: {error}", retry_seconds=5) from error
        except (RedisError, OSError) as error:
            raise Unavailable(f"the stream's server does not answer: {error}", retry_seconds=1) from error


def order(id: str) -> tuple[int, int]:
    """What ids are compared by: milliseconds, sequence."""
    milliseconds, _, sequence = id.partition("-")
    return int(milliseconds), int(sequence or 0)


def before(id: str) -> str:
    """The largest id below another one."""
    milliseconds, sequence = order(id)
    if sequence:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{LARGEST_SEQUENCE}" if milliseconds else "0-0"


def _servers(setting: str) -> dict[str, str]:
    """Raises InvalidArgument, without the URLs, which hold passwords."""
    pairs = [entry.strip().partition("=") for entry in setting.split(",") if entry.strip()]
    if any(not name or not url for name, _, url in pairs):
        raise InvalidArgument(
            "FLYWHEEL_STREAM_SERVERS must be NAME=URL, comma-separated", field="FLYWHEEL_STREAM_SERVERS"
        )
    return {name: url for name, _, url in pairs}


def _entries(found: Any) -> list[Entry]:
    """Without those that were deleted meanwhile, which older servers name all the same."""
    return [Entry(_text(id), fields) for id, fields in found or () if fields is not None]


def _named(answer: Mapping[Any, Any]) -> dict[str, Any]:
    return {_text(key): value for key, value in answer.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
