"""What a connection and a call may use; one set of numbers for both sides."""

from dataclasses import dataclass
from typing import Self

from shared.config import Settings

IDENTITY_ONLY = 1
"""Bit set of compression algorithms: none. A compressed message is refused before it is unpacked: 4 MiB could become 4 GiB."""
METADATA_BYTES = 16 << 10
Options = list[tuple[str, int | str]]


@dataclass(frozen=True)
class Limits:
    """Times are seconds. The defaults fit a fleet behind a load balancer."""

    message_bytes: int = 4 << 20
    keepalive: float = 30.0
    """Between two pings of a side that hears nothing."""
    keepalive_timeout: float = 10.0
    """A side that does not answer a ping for so long is gone."""
    connection_age: float = 1800.0
    """Clients connect anew after this (a tenth more or less), so that load spreads over new servers."""
    call: float = 3600.0
    """The longest that a call lasts, whatever its client wants; also the grace of an old connection."""
    handshake: float = 10.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(message_bytes=settings.max_message_bytes)

    def server_options(self, calls: int) -> Options:
        """For grpc.server that answers so many calls at once. Pings may come twice as often as our clients send them.

        One connection may bring more calls than there are places: a client holds back, unseen, what its connection does
        not take, while a call without a place is refused and can go elsewhere.
        """
        return [
            *self._both(),
            ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(self.keepalive / 2)),
            ("grpc.http2.max_ping_strikes", 2),
            ("grpc.max_concurrent_streams", 2 * calls),
            ("grpc.max_connection_age_ms", _milliseconds(self.connection_age)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.call)),
            ("grpc.server_handshake_timeout_ms", _milliseconds(self.handshake)),
            ("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY),
            ("grpc.so_reuseport", 0),
        ]

    def client_options(self) -> Options:
        return [
            *self._both(),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]

    def _both(self) -> Options:
        return [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_metadata_size", METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", METADATA_BYTES),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout)),
            ("grpc.http2.ping_timeout_ms", _milliseconds(self.keepalive_timeout)),
            ("grpc.keepalive_permit_without_calls", 1),
        ]


DEFAULT = Limits()


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
