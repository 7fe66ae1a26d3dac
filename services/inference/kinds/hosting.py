"""Engines and who uses them: one engine serves all versions on the same base weights, their adapters beside it."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from services.inference.engine.adapters import Adapter, adaptable, read_adapter
from services.inference.engine.cache import PAGE
from services.inference.engine.forward import Forward, TransformersForward, position_bytes
from services.inference.engine.interface import Engine, Load
from services.inference.engine.llama import LlamaForward
from services.inference.engine.native.forward import NativeLlamaForward
from services.inference.engine.native.library import why_not
from services.inference.engine.presets import Preset
from services.inference.engine.scheduler import Limits
from services.inference.engine.torch_engine import TorchEngine
from services.inference.kinds.base import Resources
from shared.modeling.kinds.base import length_limit
from shared.modeling.loading import LoadedModel
from shared.modeling.methods.virtual import VirtualTokens
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
CONTEXT_LIMIT = 2048  # positions a request may use


@dataclass(eq=False)
class Host:
    """An engine over the weights of one base, and what a further version has to fit."""

    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    ends: frozenset[int]
    weights_digest: str
    memory_bytes: int
    dtype: torch.dtype
    device: str
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    key: str = ""
    users: int = 0
    adapters: Counter[str] = field(default_factory=Counter)

    def read_adapter(self, folder: Path, digest: str) -> Adapter:
        """See `engine.adapters.read_adapter`."""
        return read_adapter(folder, digest, self.shapes, self.dtype, self.device)


class Hosts:
    """The engines of this process that versions share. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, Host] = {}

    def find(self, key: str) -> Host | None:
        with self._lock:
            return self._hosts.get(key)

    def take(self, key: str, open_host: Callable[[], Host]) -> "Lease":
        """A place on the engine with this key (digest of a base and how its weights are kept), opened if need be."""
        lease = self._join(key)
        if lease is None:
            fresh = open_host()
            with self._lock:
                known = self._hosts.setdefault(key, fresh)
                known.key = key
                known.users += 1
            if known is not fresh:
                fresh.engine.close()
            lease = Lease(known, self)
        return lease

    def _join(self, key: str) -> "Lease | None":
        with self._lock:
            host = self._hosts.get(key)
            if host is None:
                return None
            host.users += 1
            return Lease(host, self)

    def alone(self, host: Host) -> "Lease":
        """A place on an engine that no other version may use."""
        host.users = 1
        return Lease(host, self)

    def add_adapter(self, host: Host, adapter: Adapter | Preset) -> None:
        """Raises ResourceExhausted when the engine's cache has no room for a preset."""
        with self._lock:
            assert isinstance(host.engine, TorchEngine)
            host.engine.add_adapter(adapter)
            host.adapters[adapter.digest] += 1

    def leave(self, host: Host, adapter: Adapter | Preset | None) -> bool:
        """One user less; True when it was the last one, who closes the engine."""
        with self._lock:
            host.users -= 1
            if not host.users:
                self._hosts.pop(host.key, None)
                return True
            if adapter is not None:
                host.adapters[adapter.digest] -= 1
                assert isinstance(host.engine, TorchEngine)
                if not host.adapters[adapter.digest]:
                    host.engine.remove_adapter(adapter.digest)
            return False


class Lease:
    """A version's place on an engine."""

    def __init__(self, host: Host, hosts: Hosts) -> None:
        self.host = host
        self.adapter: Adapter | Preset | None = None
        self._hosts = hosts

    def adapt(self, adapter: Adapter | Preset) -> None:
        """Requests of this version use the adapter."""
        self._hosts.add_adapter(self.host, adapter)
        self.adapter = adapter

    @property
    def memory_bytes(self) -> int:
        own = self.adapter.memory_bytes if self.adapter else 0
        return own + self.host.memory_bytes // max(1, self.host.users)

    def load(self, version: str) -> Load:
        engine = self.host.engine
        return engine.load(version) if isinstance(engine, TorchEngine) else engine.load()

    def close(self, version: str, grace_seconds: float) -> None:
        """Ends the requests of this version; those of others on the same engine go on."""
        engine = self.host.engine
        if self._hosts.leave(self.host, self.adapter):
            engine.close(grace_seconds)
        elif isinstance(engine, TorchEngine):
            engine.end(version, grace_seconds)


def open_host(loaded: LoadedModel, resources: Resources) -> Host:
    """Our engine over a loaded model, whose weights it takes over."""
    limits = limits_for(loaded.model.config, loaded.model.dtype, context_of(loaded), resources)
    shapes, ends = adaptable(loaded.model), ends_of(loaded)
    forward = forward_for(loaded.model, limits, resources.int8)
    log.info("engine opened", forward=type(forward).__name__, positions=limits.pages * PAGE, bytes=forward.memory_bytes)
    engine = TorchEngine(forward, loaded.tokenizer, ends, limits, resources.compute)
    cache = sum(tensor.nbytes for tensor in (*forward.cache.keys, *forward.cache.values))
    return replace(host_of(engine, loaded, ends, forward.memory_bytes + cache), shapes=shapes)


def preset_of(model: VirtualTokens, digest: str, dtype: torch.dtype, device: str) -> Preset:
    """What the virtual tokens of a causal model come to, for an engine with such weights."""
    with torch.no_grad():
        parts = model.preset()
    keys, values = ([part[0].to(device, dtype) for part in side] for side in zip(*parts, strict=True))
    return Preset(digest, keys, values)


def host_of(engine: Engine, loaded: LoadedModel, ends: frozenset[int], memory_bytes: int) -> Host:
    """Any engine over a loaded model."""
    about = (loaded.card.weights_digest, memory_bytes, loaded.model.dtype, str(loaded.model.device))
    return Host(engine, loaded.tokenizer, ends, *about)


def context_of(loaded: LoadedModel) -> int:
    """Positions that a request may use."""
    return length_limit(loaded.model, loaded.tokenizer, CONTEXT_LIMIT)


def forward_for(model: PreTrainedModel, limits: Limits, int8: bool = False) -> Forward:
    """The fastest forward pass that computes this architecture: native, lean, or with the model's own modules."""
    bounds = (limits.pages, limits.max_length)
    if NativeLlamaForward.fits(model, limits.max_length):
        return NativeLlamaForward(model, *bounds, int8)
    if LlamaForward.fits(model):
        if (reason := why_not()) is not None:
            log.info("generation runs on torch", reason=reason)
        return LlamaForward(model, *bounds, int8)
    return TransformersForward(model, *bounds, int8)


def limits_for(config: PretrainedConfig, dtype: torch.dtype, context: int, resources: Resources) -> Limits:
    """Bounds of an engine for requests of at most `context` positions.

    Its cache has what the setting says; else, within `cache_bytes`, room for a crowd of the longest.
    """
    positions = max(PAGE, resources.cache_bytes // position_bytes(config, dtype))
    if not resources.cache_exactly:
        positions = min(positions, Limits(max_length=context).pages * PAGE)
    return Limits(
        max_length=context,
        cache_tokens=positions,
        waiting_requests=resources.waiting_requests,
        waiting_tokens=resources.waiting_tokens,
    )


def cache_bytes_needed(config: PretrainedConfig, dtype: torch.dtype, resources: Resources) -> int:
    """What the cache of an engine for such a model will take. Raises FailedPrecondition for one without heads."""
    context = min(CONTEXT_LIMIT, getattr(config, "max_position_embeddings", None) or CONTEXT_LIMIT)
    return limits_for(config, dtype, context, resources).pages * PAGE * position_bytes(config, dtype)


def ends_of(loaded: LoadedModel) -> frozenset[int]:
    """Tokens that end an answer."""
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    return frozenset(int(end) for end in (*known, loaded.tokenizer.eos_token_id) if end is not None)
