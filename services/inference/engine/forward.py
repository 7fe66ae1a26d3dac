"""From a packed step to logits, with any transformers causal language model."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from services.inference.engine.adapters import Adapter, adaptable, add_product
from services.inference.engine.cache import PagedCache
from services.inference.engine.quantization import quantize_modules
from services.inference.engine.step import Segment, Step
from shared.errors import FailedPrecondition

ATTENTION = "flywheel_pages"


class Forward(Protocol):
    """Runs a step over its own cache; returns float32 logits of shape (wanted tokens, vocabulary)."""

    cache: PagedCache
    vocabulary: int

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        ...

    def __call__(self, step: Step) -> torch.Tensor: ...


def model_bytes(model: torch.nn.Module) -> int:
    """Bytes of a model's weights and buffers; tied weights count once."""
    tensors = (*model.parameters(), *model.buffers())
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def new_cache(model: PreTrainedModel, pages: int, capacity: int) -> PagedCache:
    """A cache that fits the model's layers and heads. Raises FailedPrecondition for a model without them."""
    layers, kv_heads, head_size = _heads(model.config)
    return PagedCache(layers, pages, kv_heads, head_size, model.dtype, str(model.device), capacity)


def position_bytes(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """Bytes that keys and values of one position take in all layers. Raises as `new_cache`."""
    layers, kv_heads, head_size = _heads(config)
    return 2 * layers * kv_heads * head_size * dtype.itemsize


def _heads(config: PretrainedConfig) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and their size."""
    text: Any = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    if not heads:
        raise not_served(config, "it has no attention heads whose keys and values could be cached")
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    return text.num_hidden_layers, kv_heads, getattr(text, "head_dim", None) or text.hidden_size // heads


def not_served(config: PretrainedConfig, why: str) -> FailedPrecondition:
    return FailedPrecondition(f"models of type {config.model_type!r} are not served: {why}")


class TransformersForward:
    """The model's own modules, with attention replaced by the step's.

    Raises FailedPrecondition for a model that computes its attention, or its memory of the past, in its own way.
    """

    def __init__(self, model: PreTrainedModel, pages: int, capacity: int, int8: bool = False) -> None:
        AttentionInterface.register(ATTENTION, _attention)
        _check_config(model, capacity)
        model.set_attn_implementation(ATTENTION)
        self.model = model
        self.cache = new_cache(model, pages, capacity)
        config = model.config.get_text_config()
        self.vocabulary: int = config.vocab_size
        self._groups: list[tuple[Adapter, torch.Tensor | None]] = []
        if int8:
            quantize_modules(model)
        self.memory_bytes = model_bytes(model)
        for name in adaptable(model):
            model.get_submodule(name).register_forward_hook(self._adding(name))
        self._check_attention(config.num_hidden_layers)

    def __call__(self, step: Step) -> torch.Tensor:
        self._groups = adapter_groups(step)
        output = self.model(
            input_ids=step.ids[None],
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=step.wanted,
            step=step,
        )
        logits: torch.Tensor = output.logits[0]
        return logits.float()

    def _adding(self, name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            for adapter, rows in self._groups:
                part = adapter.modules.get(name)
                if part is not None:
                    add_product(output.view(-1, output.shape[-1]), inputs[0].view(-1, inputs[0].shape[-1]), part, rows)

        return add

    @torch.inference_mode()
    def _check_attention(self, layers: int) -> None:
        """A model that does not ask for `_attention` in every layer would give wrong tokens without a word."""
        page = self.cache.allocate()
        self.cache.taint(page)
        witness = _Witness([Segment([page], 0, (0, 0), 1)], self.cache)
        try:
            self(witness)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise not_served(self.model.config, str(error)) from error
        finally:
            self.cache.release(page)
        if witness.attended != set(range(layers)):
            raise not_served(self.model.config, "its layers do not leave attention to the engine")


class _Witness(Step):
    """Notes which layers attended."""

    def __init__(self, segments: Sequence[Segment], cache: PagedCache) -> None:
        super().__init__(segments, cache)
        self.attended: set[int] = set()

    def attend(self, layer: int, *parts: Any, **options: Any) -> torch.Tensor:
        self.attended.add(layer)
        return super().attend(layer, *parts, **options)


def adapter_groups(step: Step) -> list[tuple[Adapter, torch.Tensor | None]]:
    """The adapters of a step with the rows of each; None where one has all rows."""
    groups: list[tuple[Adapter, torch.Tensor | None]] = []
    for adapter, rows in step.adapters:
        assert isinstance(adapter, Adapter)
        groups.append((adapter, None if len(rows) == len(step.ids) else rows))
    return groups


def _check_config(model: PreTrainedModel, capacity: int) -> None:
    config = model.config.get_text_config()
    chunk = getattr(config, "attention_chunk_size", None)
    if "chunked_attention" in (getattr(config, "layer_types", None) or ()) and chunk and chunk < capacity:
        raise not_served(model.config, f"it attends in chunks of {chunk} positions")


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    step: Step,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: shapes (1, heads, tokens, size) in, (1, tokens, heads, size) out."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    return step.attend(module.layer_idx, query, key, value, scale, softcap, sliding_window, s_aux)[None], None
