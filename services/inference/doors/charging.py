"""Tokens counted against the caller's allowance a minute, as they come: a stream that is cut is charged up to there."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from services.inference.answering.generating import Accepted, Event
from services.inference.engine.interface import Chunk
from shared.rpc import callers


def charged(events: Iterable[Event]) -> Iterator[Event]:
    """The events of one answer."""
    for event in events:
        if isinstance(event, Accepted):
            callers.charge(event.prompt_tokens)
        elif isinstance(event, Chunk) and not event.echo:
            callers.charge(len(event.token_ids))
        yield event


class _Used(Protocol):
    @property
    def prompt_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...


def charge_usage(used: _Used) -> None:
    """For an answer that came at once."""
    callers.charge(used.prompt_tokens + used.completion_tokens)
