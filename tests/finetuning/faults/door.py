"""A loopback door to a server, which can be shut: the way to it is gone, the server knows of nothing."""

import socket
import threading
from contextlib import suppress
from typing import Self


class Door:
    """Passes connections on to a port of this machine while it is open; its own port stays the same."""

    def __init__(self, port: int) -> None:
        self._inner = port
        self._listener: socket.socket | None = None
        self._through: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port = 0
        self.open()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._let_in, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Nobody gets in any more, and who is in is thrown out."""
        assert self._listener is not None
        _end(self._listener)
        with self._lock:
            through, self._through = self._through, []
        for one in through:
            _end(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.shut()

    def _let_in(self, listener: socket.socket) -> None:
        while True:
            try:
                outside, _ = listener.accept()
            except OSError:
                return
            inside = socket.create_connection(("127.0.0.1", self._inner))
            with self._lock:
                if self._listener is not listener or listener.fileno() < 0:
                    _end(outside)
                    _end(inside)
                    return
                self._through += [outside, inside]
            for source, target in ((outside, inside), (inside, outside)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    _end(source)
    _end(target)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
