"""Pages that hold the beginning of a prompt, found again by what was in it.

A page is keyed by its tokens and the key of the page before it, so a key stands for the whole text up to there.
The chain begins with the adapter and the salt: strangers never share. The cache belongs to one set of weights.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b

from services.inference.engine.cache import PagedCache


class PrefixIndex:
    """Which page holds what. A page without users stays until memory is needed, least recently used first."""

    def __init__(self, cache: PagedCache) -> None:
        self._cache = cache
        self._pages: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        cache.on_evict = self.forget

    def __len__(self) -> int:
        return len(self._pages)

    def find(self, key: bytes) -> int | None:
        return self._pages.get(key)

    def add(self, key: bytes, page: int) -> None:
        """Remember a full, computed page; of two with the same content the first stays."""
        if key in self._pages:
            return
        assert page not in self._keys
        self._pages[key], self._keys[page] = page, key
        self._cache.keep(page)

    def forget(self, page: int) -> None:
        key = self._keys.pop(page, None)
        if key is not None:
            del self._pages[key]

    def clear(self) -> None:
        self._pages.clear()
        self._keys.clear()


def root_key(adapter: str | None, salt: str) -> bytes:
    """Where the chain of a request begins."""
    return blake2b(repr((adapter, salt)).encode(), digest_size=16).digest()


def next_key(parent: bytes, tokens: Sequence[int]) -> bytes:
    """The key of a page of these tokens that follows the page `parent`."""
    return blake2b(array("i", tokens).tobytes(), key=parent, digest_size=16).digest()
