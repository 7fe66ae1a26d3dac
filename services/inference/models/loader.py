"""From a record in the database to a model that answers: fetch, verify, load, probe."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from services.inference.engine.compute import ComputeThread
from services.inference.kinds import kind_of_base, serve
from services.inference.kinds.base import Resources, Served
from services.inference.kinds.generation import CONTEXT_LIMIT, Generator
from services.inference.models.lineage import BASE_VERSION, Lineage, VersionRecord
from shared.config import Settings
from shared.errors import DataCorrupted
from shared.modeling.bases import open_base
from shared.modeling.devices import choose_device, fast_at_bfloat16
from shared.modeling.loading import DTYPES, LoadedModel, load_base, load_model, tensor_file_bytes
from shared.modeling.methods import find_method
from shared.storage.artifacts import Artifacts
from shared.telemetry import metrics


class Loader(Protocol):
    def memory_needed(self, record: VersionRecord) -> int:
        """Bytes that `load` would add to what the process holds. Raises what goes wrong with fetching the files."""
        ...

    def load(self, record: VersionRecord) -> tuple[Served, Lineage]:
        """A model that has answered a probe, and its complete lineage. Slow; raises what goes wrong."""
        ...


class TorchLoader:
    """Loads with torch in the calling thread; all models share one compute thread."""

    def __init__(self, settings: Settings, artifacts: Artifacts, compute: ComputeThread) -> None:
        self._artifacts = artifacts
        self._compute = compute
        self._bases = settings.cache_folder / "bases"
        self._device = choose_device(settings.device)
        self._waiting = (settings.max_waiting_requests, settings.max_waiting_tokens)

    def memory_needed(self, record: VersionRecord) -> int:
        folder = self._weights_folder(record)
        return sum(tensor_file_bytes(path, DTYPES[self._dtype(record.kind)]) for path in folder.glob("*.safetensors"))

    def load(self, record: VersionRecord) -> tuple[Served, Lineage]:
        torch.set_num_threads(1)  # a pool of OpenMP threads here would slow the compute thread's down
        loaded = self._load_base(record) if record.key.version == BASE_VERSION else self._load_version(record)
        served = serve(loaded.card.kind, loaded, self._resources(record.key.model))
        try:
            served.probe()
        except BaseException:
            served.close()
            raise
        lineage = record.lineage.by(served.engine_name)
        if record.key.version == BASE_VERSION:
            lineage = replace(lineage, weights_digest=loaded.card.weights_digest)
        return served, lineage

    def _load_base(self, record: VersionRecord) -> LoadedModel:
        base = open_base(record.base, self._bases, self._artifacts)
        kind = kind_of_base(record.kind)
        return load_base(base, kind, max_length=CONTEXT_LIMIT, device=self._device, dtype=self._dtype(kind))

    def _load_version(self, record: VersionRecord) -> LoadedModel:
        folder = self._artifacts.fetch_folder(record.weights_uri)
        adapter = find_method(record.method).adapter
        base = open_base(record.base, self._bases, self._artifacts).path if adapter else None
        loaded = load_model(folder, base=base, device=self._device, dtype=self._dtype(record.kind))
        for what, found, wanted in (
            ("weights", loaded.card.weights_digest, record.lineage.weights_digest),
            ("adapter", loaded.card.adapter_digest, record.lineage.adapter_digest),
        ):
            if found != wanted:
                raise DataCorrupted(f"{record.key}: {what} have digest {found[:12]}…, the record says {wanted[:12]}…")
        return loaded

    def _weights_folder(self, record: VersionRecord) -> Path:
        full = record.key.version != BASE_VERSION and not find_method(record.method).adapter
        if full:
            return self._artifacts.fetch_folder(record.weights_uri)
        return open_base(record.base, self._bases, self._artifacts).path

    def _resources(self, model: str) -> Resources:
        observe: Callable[[float], None] = metrics.INFERENCE_INTER_TOKEN_SECONDS.labels(model).observe
        return Resources(self._compute, *self._waiting, observe)

    def _dtype(self, kind: str) -> str:
        """Chat in bfloat16 where that is fast; classifiers answer in the precision they are judged in."""
        return "bfloat16" if kind == Generator.kind and fast_at_bfloat16(self._device) else "float32"
