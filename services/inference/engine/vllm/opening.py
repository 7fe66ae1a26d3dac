"""A loaded model handed over to vLLM: written into a folder of its own, in the precision it was loaded with."""

import shutil
import tempfile
from pathlib import Path

from services.inference.engine.scheduler import Limits
from services.inference.engine.vllm.engine import VllmEngine
from services.inference.engine.vllm.process import VllmSettings
from shared.modeling.loading import LoadedModel


class VllmFolder:
    """What vLLM reads, now and when it has to start again; gone when the engine closes."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="flywheel-vllm-"))
        loaded.model.save_pretrained(self.path)
        loaded.tokenizer.save_pretrained(self.path)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def open_vllm(
    loaded: LoadedModel,
    eos: frozenset[int],
    limits: Limits,
    *,
    python: str = "",
    threads: int = 1,
    eager: bool = False,
) -> VllmEngine:
    """An engine that answers with these weights, whatever method trained them.

    Adapters are merged when a model is loaded, so vLLM sees plain weights that have passed our digest checks. Raises
    FailedPrecondition when vLLM does not start with them.
    """
    folder = VllmFolder(loaded)
    settings = VllmSettings(
        folder=folder.path,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        max_length=limits.max_length,
        slots=limits.slots,
        cache_bytes=cache_bytes(loaded, limits),
        threads=threads,
        python=python,
        eager=eager,
    )
    vocabulary = int(loaded.model.config.get_text_config().vocab_size)
    try:
        return VllmEngine(settings, loaded.tokenizer, eos, limits, vocabulary, on_close=folder.remove)
    except BaseException:
        folder.remove()
        raise


def cache_bytes(loaded: LoadedModel, limits: Limits) -> int:
    """Keys and values of as many positions as our own cache would have."""
    config = loaded.model.config.get_text_config()
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    positions = limits.cache_tokens or limits.slots * limits.max_length
    return int(2 * config.num_hidden_layers * kv_heads * size * positions * loaded.model.dtype.itemsize)
