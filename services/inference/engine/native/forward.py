"""The forward pass of the Llama family in C++: one call a step, weights read once at the speed of memory.

Activations between products are float32; products take bfloat16 (or 16-bit integers beside int8 weights) and add
up in float32. Pages of the cache are in an order of its own, so no other forward can read them.
"""

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from services.inference.engine.adapters import Adapter
from services.inference.engine.cache import pages_for
from services.inference.engine.forward import new_cache
from services.inference.engine.native import library
from services.inference.engine.native.packing import PANEL, advise_huge_pages
from services.inference.engine.native.weights import LARGEST_HEAD, Packed, pack_adapter, pack_model
from services.inference.engine.step import Segment, Step

FAMILY = frozenset({"llama", "qwen2", "qwen3", "mistral"})


class NativeLlamaForward:
    """Takes the weights over from a transformers model of the family (the model is not usable afterwards)."""

    @staticmethod
    def available() -> bool:
        """Whether this machine can run it; `library.why_not` says why not."""
        return library.why_not() is None

    @staticmethod
    def fits(model: PreTrainedModel, capacity: int) -> bool:
        """Whether this computes what the model's own modules would, here."""
        config: Any = model.config
        return (
            NativeLlamaForward.available()
            and config.model_type in FAMILY
            and model.device.type == "cpu"
            and model.dtype == torch.bfloat16
            and config.hidden_act == "silu"
            and not getattr(config, "mlp_bias", False)
            and _rotates_plainly(config)
            and _window(config, capacity) is not None
            and _sizes_fit(config)
        )

    def __init__(self, model: Any, pages: int, capacity: int, int8: bool = False) -> None:
        config = model.config
        window = _window(config, capacity)
        assert window is not None
        self.cache = new_cache(model, pages, capacity)
        self.vocabulary: int = config.vocab_size
        for tensor in (*self.cache.keys, *self.cache.values):
            advise_huge_pages(tensor)
        self.cache.key_order, self.cache.value_order = _key_order, _value_order
        self._packed: Packed = pack_model(model, self.cache, window, library.INT8 if int8 else library.BFLOAT16)
        self._adapters: WeakKeyDictionary[Any, tuple[Any, list[torch.Tensor]]] = WeakKeyDictionary()
        self._library = library.library()
        self._context = self._library.flywheel_open(ctypes.byref(self._packed.model))
        if not self._context:
            raise MemoryError("no memory for the native step")

    def __del__(self) -> None:
        if context := getattr(self, "_context", None):
            self._library.flywheel_close(context)

    @property
    def memory_bytes(self) -> int:
        """What the weights take."""
        return self._packed.arena.used

    def __call__(self, step: Step) -> torch.Tensor:
        rows = _Rows(step.segments, self.vocabulary, self.cache.pages)
        logits = torch.empty(len(rows.wanted), self.vocabulary)
        batch = library.Batch(
            ids=rows.ids.buffer_info()[0],
            positions=rows.positions.buffer_info()[0],
            starts=rows.starts.buffer_info()[0],
            counts=rows.counts.buffer_info()[0],
            first_row=rows.first_row.buffer_info()[0],
            table_at=rows.table_at.buffer_info()[0],
            tables=rows.tables.buffer_info()[0],
            wanted=rows.wanted.buffer_info()[0],
            logits=logits.data_ptr(),
            tokens=len(rows.ids),
            segments=len(rows.starts),
            wanted_count=len(rows.wanted),
            threads=torch.get_num_threads(),
        )
        adapters, of_row = _adapters_of(step.segments)
        if adapters:
            layers = [ctypes.addressof(self._pack_adapter(adapter)) for adapter in adapters]
            pointers = (ctypes.c_void_p * len(layers))(*layers)
            batch.adapters, batch.adapter_count = ctypes.addressof(pointers), len(layers)
            batch.adapter = of_row.buffer_info()[0]
        if self._library.flywheel_step(self._context, ctypes.byref(batch)):
            raise MemoryError(f"no memory for a step of {len(rows.ids)} tokens")
        return logits

    def _pack_adapter(self, adapter: Adapter) -> Any:
        if adapter not in self._adapters:
            self._adapters[adapter] = pack_adapter(adapter, self._packed.model)
        return self._adapters[adapter][0]


def _key_order(page: torch.Tensor) -> torch.Tensor:
    """Of (heads, positions, size): [size / 2][position][2] a head, as attention.cpp reads it."""
    heads, positions, size = page.shape
    return page.view(heads, positions, size // 2, 2).transpose(1, 2)


def _value_order(page: torch.Tensor) -> torch.Tensor:
    """Of (heads, positions, size): [size / 32][position / 2][32][2] a head."""
    heads, positions, size = page.shape
    return page.view(heads, positions // 2, 2, size // PANEL, PANEL).permute(0, 3, 1, 4, 2)


class _Rows:
    """A step as flat arrays of int32."""

    def __init__(self, segments: Sequence[Segment], vocabulary: int, pages: int) -> None:
        self.ids, self.positions, self.wanted = array("i"), array("i"), array("i")
        self.starts, self.counts, self.first_row = array("i"), array("i"), array("i")
        self.table_at, self.tables = array("i"), array("i")
        for segment in segments:
            assert segment.start >= 0
            assert 0 <= segment.wanted <= len(segment.tokens) > 0
            self.starts.append(segment.start)
            self.counts.append(len(segment.tokens))
            self.first_row.append(len(self.ids))
            self.table_at.append(len(self.tables))
            self.ids.extend(segment.tokens)
            self.positions.extend(range(segment.start, segment.end))
            self.tables.extend(segment.pages[: pages_for(segment.end)])
            self.wanted.extend(range(len(self.ids) - segment.wanted, len(self.ids)))
        assert min(self.ids) >= 0
        assert max(self.ids) < vocabulary
        assert min(self.tables) >= 0
        assert max(self.tables) < pages


def _adapters_of(segments: Sequence[Segment]) -> "tuple[list[Any], array[int]]":
    """The step's adapters, and for each row the index of its own or -1."""
    found: dict[str, int] = {}
    adapters: list[Any] = []
    of_row = array("i")
    for segment in segments:
        index = -1
        if segment.adapter is not None:
            index = found.setdefault(segment.adapter.digest, len(adapters))
            if index == len(adapters):
                adapters.append(segment.adapter)
        of_row.extend([index] * len(segment.tokens))
    return adapters, of_row


def _rotates_plainly(config: Any) -> bool:
    rope = getattr(config, "rope_parameters", None) or {}
    share = rope.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None) or 1.0
    return share == 1.0 and rope.get("rope_type", "default") in {"default", "linear", "llama3"}


def _window(config: Any, capacity: int) -> int | None:
    """Positions that a token sees, 0 for all; None when layers differ."""
    window = getattr(config, "sliding_window", None)
    if window is None or window >= capacity or getattr(config, "use_sliding_window", True) is False:
        return 0
    kinds = set(getattr(config, "layer_types", None) or {"sliding_attention"})
    if kinds == {"full_attention"}:
        return 0
    return int(window) if kinds == {"sliding_attention"} else None


def _sizes_fit(config: Any) -> bool:
    size: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    hidden: int = config.hidden_size
    inner: int = config.intermediate_size
    return size <= LARGEST_HEAD and size % PANEL == 0 and hidden % PANEL == 0 and inner % (PANEL // 2) == 0
