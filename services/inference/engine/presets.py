"""Keys and values that stand before every text of a version: what prefix, prompt and P-tuning come to once trained.

They lie in pages of the cache like any beginning that requests share. A text begins at the position after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from services.inference.engine.cache import PAGE, PagedCache, pages_for
from shared.errors import DataCorrupted


@dataclass(frozen=True, eq=False)
class Preset:
    """Per layer keys and values of shape (kv heads, positions, head size)."""

    digest: str
    keys: Sequence[torch.Tensor]
    values: Sequence[torch.Tensor]

    @property
    def length(self) -> int:
        """Positions."""
        return self.keys[0].shape[1]

    @property
    def memory_bytes(self) -> int:
        return sum(part.nbytes for part in (*self.keys, *self.values))


@dataclass(eq=False)
class HeldPreset:
    """A preset in the pages of an engine's cache."""

    preset: Preset
    pages: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        return self.preset.length

    def hold(self, cache: PagedCache) -> None:
        """Write it into pages of its own. Raises DataCorrupted when it is for another model."""
        preset = self.preset
        shape = (cache.kv_heads, preset.length, cache.head_size)
        if len(preset.keys) != len(cache.keys) or any(part.shape != shape for part in (*preset.keys, *preset.values)):
            raise DataCorrupted(
                f"adapter {preset.digest[:12]} holds keys of shape {tuple(preset.keys[0].shape)} in {len(preset.keys)} "
                f"layers, its base has {shape} in {len(cache.keys)}"
            )
        self.pages = [cache.allocate() for _ in range(pages_for(preset.length))]
        for layer, (keys, values) in enumerate(zip(preset.keys, preset.values, strict=True)):
            for index, page in enumerate(self.pages):
                part = slice(index * PAGE, (index + 1) * PAGE)
                cache.put(layer, page, keys[:, part], values[:, part])

    def release(self, cache: PagedCache) -> None:
        """Requests that began with it keep the pages until they end."""
        for page in self.pages:
            cache.release(page)
        self.pages = []
