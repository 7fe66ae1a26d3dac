"""The requests that are being answered here, so that an operator can end one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import Cancelled, FlywheelError


class RunningRequest:
    """One of them. `cancel` is known once a model has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancel: Callable[[], None] | None = None
        self._aborted = False

    def on_abort(self, cancel: Callable[[], None]) -> None:
        """What ends it; called at once when an operator was faster."""
        with self._lock:
            self._cancel = cancel
            late = self._aborted
        if late:
            cancel()

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            cancel = self._cancel
        if cancel is not None:
            cancel()

    def check(self) -> None:
        """Raises Cancelled when an operator has ended it, whatever came of it."""
        if self._aborted:
            raise Cancelled("an operator ended the request")


class Running:
    """Safe for threads. Several requests may have the same id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[str, list[RunningRequest]] = {}

    @contextmanager
    def entered(self, request_id: str) -> Iterator[RunningRequest]:
        """A request that runs as long as the block. One that was aborted ends with Cancelled, even when it is done."""
        request = RunningRequest()
        with self._lock:
            self._requests.setdefault(request_id, []).append(request)
        try:
            yield request
        except FlywheelError:  # work that is stopped half-way may end in other words
            request.check()
            raise
        finally:
            with self._lock:
                left = [one for one in self._requests[request_id] if one is not request]
                if left:
                    self._requests[request_id] = left
                else:
                    del self._requests[request_id]
        request.check()

    def abort(self, request_id: str) -> bool:
        """Ends what has this id; False when nothing has."""
        with self._lock:
            found = list(self._requests.get(request_id, ()))
        for one in found:
            one.abort()
        return bool(found)
