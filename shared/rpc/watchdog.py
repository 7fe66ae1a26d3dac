"""Ends calls whose client set no deadline, or a later one than the server allows."""

import threading
import time

import grpc

TICK_SECONDS = 1.0


class Watchdog:
    """gRPC ends a call at its client's deadline, and never one without: a client that stops reading its stream, or never
    sends the rest of it, would keep a thread for ever. Thread-safe."""

    def __init__(self, tick: float = TICK_SECONDS) -> None:
        self._tick = tick
        self._calls: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="deadlines", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def watch(self, context: grpc.ServicerContext, seconds: float) -> bool:
        """Whether the call has to be `release`d at its end; not if its own deadline is earlier."""
        if context.time_remaining() <= seconds:
            return False
        self._calls[id(context)] = (time.monotonic() + seconds, context)
        return True

    def release(self, context: grpc.ServicerContext) -> None:
        self._calls.pop(id(context), None)

    def _run(self) -> None:
        while not self._stopped.wait(self._tick):
            now = time.monotonic()
            for due, context in list(self._calls.values()):
                if due < now:
                    context.cancel()  # type: ignore[no-untyped-call]
                    self.release(context)
