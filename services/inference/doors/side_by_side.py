"""Answers the requests of one stream at the same time."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from typing import Generic, TypeVar

from services.inference.answering.asking import OnGone

AT_ONCE = 16
"""Requests of one stream that are answered at the same time; more wait their turn."""
UNREAD = 64
"""Parts that may wait for a client to read them."""
PATIENCE_SECONDS = 60.0
"""A client for which parts wait, and which reads none for so long, is given up."""
TICK_SECONDS = 0.2

Request = TypeVar("Request")
Part = TypeVar("Part")
Answer = Callable[[int, Request, OnGone], Generator[Part, None, None]]
"""Of a request, with its place in the stream and where to register what to do when the client is gone."""


class SideBySide(Generic[Request, Part]):
    """Parts come in the order in which they are ready.

    Where the client does not read, the answers wait, and with them the requests, but not for ever: `give_up` has to
    end the call, so that nothing of it holds a model.
    """

    def __init__(
        self, answer: Answer[Request, Part], give_up: Callable[[], object], patience: float = PATIENCE_SECONDS
    ) -> None:
        self._answer, self._give_up, self._patience = answer, give_up, patience
        self._ready: queue.Queue[Part | Exception | None] = queue.Queue(UNREAD)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._when_gone: dict[int, list[Callable[[], None]]] = {}
        self._read_at = time.monotonic()

    def parts(self, requests: Iterator[Request]) -> Iterator[Part]:
        """Ends when the client has sent its last request and all are answered. Raises what `requests` raises."""
        with ThreadPoolExecutor(AT_ONCE, "stream") as pool, ThreadPoolExecutor(1, "requests") as reader:
            reader.submit(copy_context().run, self._read, requests, pool)
            try:
                while not self._closed.is_set() and (part := self._ready.get()) is not None:
                    if isinstance(part, Exception):
                        raise part
                    yield part
                    self._read_at = time.monotonic()
            finally:
                self.close()

    def close(self) -> None:
        """Stops all answers: the client is gone."""
        with self._lock:
            self._closed.set()
            acts = [act for several in self._when_gone.values() for act in several]
            self._when_gone.clear()
        with suppress(queue.Full):  # whoever waits for a part shall see that there will be none
            self._ready.put_nowait(None)
        for act in acts:
            act()

    def _read(self, requests: Iterator[Request], pool: ThreadPoolExecutor) -> None:
        places = threading.Semaphore(AT_ONCE)
        try:
            for number, request in enumerate(requests):
                places.acquire()
                asked = pool.submit(copy_context().run, self._run, number, request)
                asked.add_done_callback(lambda _: places.release())
            for _ in range(AT_ONCE):
                places.acquire()
        except Exception as error:  # the client is gone, or has sent what the guard refuses
            self._put(error)
        finally:
            self._put(None)

    def _run(self, number: int, request: Request) -> None:
        def on_gone(act: Callable[[], None]) -> bool:
            with self._lock:
                if not self._closed.is_set():
                    self._when_gone.setdefault(number, []).append(act)
                    return True
            return False

        try:
            with closing(self._answer(number, request, on_gone)) as parts:
                for part in parts:
                    if not self._put(part):
                        return
        finally:
            with self._lock:
                self._when_gone.pop(number, None)

    def _put(self, part: Part | Exception | None) -> bool:
        """False when nobody will read it."""
        while not self._closed.is_set():
            try:
                self._ready.put(part, timeout=TICK_SECONDS)
            except queue.Full:
                if time.monotonic() - self._read_at > self._patience:
                    self.close()
                    self._give_up()
            else:
                return True
        return False
