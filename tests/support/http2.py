"""A bare HTTP/2 client for gRPC, to do what no proper client does (RFC 9113, RFC 7541)."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


class RawClient:
    """One connection. It answers nothing by itself, neither settings nor pings."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.sendall(PREFACE)
        self.send(SETTINGS)

    def send(self, kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> None:
        self.socket.sendall(
            struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload
        )

    def call(self, path: str, stream: int = 1, **metadata: str) -> None:
        """Begins a call without a deadline."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        fields |= {name.replace("_", "-"): value for name, value in metadata.items()}
        block = b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields.items())
        self.send(HEADERS, block, stream, END_HEADERS)

    def message(self, body: bytes, stream: int = 1, compressed: bool = False) -> None:
        """Sends one message in frames of 16 KiB, and ends this side of the stream."""
        whole = bytes((compressed,)) + struct.pack(">I", len(body)) + body
        for at in range(0, len(whole), 16384):
            self.send(DATA, whole[at : at + 16384], stream, END_STREAM if at + 16384 >= len(whole) else 0)

    def frames(self) -> Iterator[Frame]:
        """What the server sends, until it closes the connection."""
        with contextlib.suppress(ConnectionError):
            while head := self._read(9):
                length = int.from_bytes(head[:3], "big")
                stream = int.from_bytes(head[5:9], "big")
                yield Frame(head[3], head[4], stream, self._read(length))

    def close(self) -> None:
        self.socket.close()

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            if not more:
                return b""
            found += more
        return found


def _string(text: str) -> bytes:
    """A literal of HPACK without Huffman coding."""
    raw = text.encode()
    length = len(raw)
    if length < 127:
        return bytes((length,)) + raw
    rest, coded = length - 127, bytearray((127,))
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    coded.append(rest)
    return bytes(coded) + raw
