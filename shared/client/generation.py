"""Answers that are streamed as they are made."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from shared.client.answers import Accepted, Chunk, Finished, TokenLogprob
from shared.client.connection import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Connection
from shared.client.reading import read
from shared.errors import Unavailable


@dataclass
class Answer:
    """What came so far of one answer; `reason` and `score` are there once all have ended."""

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reason: str = ""
    score: float | None = None

    def add(self, chunk: Chunk) -> None:
        self.text += chunk.text
        self.token_ids.extend(chunk.token_ids)
        self.logprobs.extend(chunk.logprobs)


class Generation:
    """Iterate over it for the chunks. `accepted` is there with the first chunk, `finished` after the last.

    A stream that is cut before its first chunk is asked for again; a later cut raises, because the text
    that was seen can't be taken back.
    """

    def __init__(self, connection: Connection, start: Callable[[], Any]) -> None:
        self._connection = connection
        self._start = start
        self._call: Any = None
        self._seen = False
        self._chunks = self._read()
        self.accepted: Accepted | None = None
        self.finished: Finished | None = None
        self.prompt = Answer()
        """The prompt, where `echo` was asked for."""
        self.answers: list[Answer] = [Answer()]
        """One entry an answer; for beams best first."""

    @property
    def text(self) -> str:
        """All that came so far, of the first answer."""
        return self.answers[0].text

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def read_all(self) -> str:
        """Waits for the end and returns the whole text, of the first answer."""
        for _ in self:
            pass
        return self.text

    def cancel(self) -> None:
        """Tells the server to stop; without effect once it has ended."""
        if self._call is not None:
            self._call.cancel()

    def _read(self) -> Iterator[Chunk]:
        give_up = time.monotonic() + self._connection.patience
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                yield from self._read_once()
                return
            except Unavailable:
                if self._seen or time.monotonic() + pause > give_up:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _read_once(self) -> Iterator[Chunk]:
        with self._connection.errors():
            self._call = self._start()
            try:
                for event in self._call:
                    kind = event.WhichOneof("event")
                    if kind == "accepted":
                        self.accepted = read(Accepted, event.accepted)
                    elif kind == "chunk":
                        yield self._take(read(Chunk, event.chunk))
                    elif kind == "finished":
                        self._end(read(Finished, event.finished))
            finally:
                self._call.cancel()

    def _take(self, chunk: Chunk) -> Chunk:
        self._seen = True
        while len(self.answers) <= chunk.index:
            self.answers.append(Answer())
        (self.prompt if chunk.echo else self.answers[chunk.index]).add(chunk)
        return chunk

    def _end(self, finished: Finished) -> None:
        self.finished = finished
        while len(self.answers) < len(finished.candidates):
            self.answers.append(Answer())
        for answer, candidate in zip(self.answers, finished.candidates, strict=False):
            answer.reason, answer.score = candidate.reason, candidate.score
