"""How much a file may turn into. A few bytes of an archive can hold terabytes."""

from shared.errors import InvalidArgument

MOST_BYTES = 64 << 30
"""Of one file, unpacked."""
MOST_RATIO = 200
"""Unpacked bytes for one that came. JSON Lines shrink 5 to 20 times, rows that repeat 100 times, a bomb 1,000 times."""
FREE_BYTES = 16 << 20
"""A small file may be anything, as long as it is small unpacked."""
PIECE_BYTES = 1 << 20


class Budget:
    """Counts what came and what it turned into."""

    def __init__(self) -> None:
        self._came = self._made = 0

    def came(self, count: int) -> None:
        self._came += count

    def made(self, count: int) -> None:
        """Raises InvalidArgument beyond the limits."""
        self._made += count
        if self._made > FREE_BYTES and self._made > MOST_RATIO * self._came:
            raise InvalidArgument(
                f"the file unpacks to more than {MOST_RATIO} times its size; it is taken for a bomb. "
                "Send it unpacked, or in parts",
                field="chunk",
            )
        if self._made > MOST_BYTES:
            raise InvalidArgument(
                f"the file unpacks to more than {MOST_BYTES >> 30} GiB; send it in parts", field="chunk"
            )
