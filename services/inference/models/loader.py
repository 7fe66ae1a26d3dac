"""From a record in the database to a model that answers: fetch, verify, load, probe."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from transformers import AutoConfig

from services.inference.engine.compute import ComputeThread
from services.inference.engine.engines import TORCH, VLLM, EngineChoice
from services.inference.engine.vllm.opening import open_vllm
from services.inference.kinds import base_options, kind_of_base, serve
from services.inference.kinds.base import Resources, Served, model_bytes
from services.inference.kinds.generation import HOSTED, serve_on
from services.inference.kinds.hosting import (
    CONTEXT_LIMIT,
    Host,
    Hosts,
    cache_bytes_needed,
    context_of,
    ends_of,
    host_of,
    limits_for,
    open_host,
)
from services.inference.models.lineage import BASE_VERSION, Lineage, VersionRecord
from services.inference.models.memory import memory_limit
from services.inference.models.reading import Reading
from services.inference.models.resting import resting
from services.inference.models.sharing import Place, check_base, join, place_of
from services.inference.models.tokenizers import Tokenizers
from shared.config import Settings
from shared.errors import DataCorrupted, FailedPrecondition, ResourceExhausted
from shared.modeling.bases import BaseModel, open_base
from shared.modeling.devices import choose_device, fast_at_bfloat16
from shared.modeling.digests import weights_digest
from shared.modeling.loading import DTYPES, LoadedModel, load_base, load_model, tensor_file_bytes
from shared.modeling.methods import find_method
from shared.modeling.methods.virtual import VirtualTokens
from shared.storage.artifacts import Artifacts
from shared.storage.digests import each_file_once
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


class Loader(Protocol):
    def memory_needed(self, record: VersionRecord) -> int:
        """Bytes that `load` would add to what the process holds. Raises what goes wrong with fetching the files."""
        ...

    def load(self, record: VersionRecord) -> tuple[Served, Lineage]:
        """A model that has answered a probe, and its complete lineage. Slow; raises what goes wrong."""
        ...


class TorchLoader:
    """Loads with torch in the calling thread; all models share one compute thread.

    Versions that write text and were trained with LoRA share one engine a base, as does the base itself.
    """

    def __init__(
        self,
        settings: Settings,
        artifacts: Artifacts,
        compute: ComputeThread,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `busy`, a load takes longer and leaves most of the interpreter to the answers; see `resting`."""
        self._settings = settings
        self._artifacts = artifacts
        self._compute = compute
        self._resting = partial(resting, busy)
        self._bases = settings.cache_folder / "bases"
        self._device = choose_device(settings.device)
        self._engines = EngineChoice(settings.engines)
        self._hosts = Hosts()
        self._reading = Reading()
        self._tokenizers = Tokenizers()

    @each_file_once()
    def memory_needed(self, record: VersionRecord) -> int:
        place = self._place(record)
        if place is not None and self._hosts.find(self._host_key(place)):
            if place.base is not None:
                return sum(tensor_file_bytes(path, torch.float32) for path in place.base.glob("*.safetensors"))
            return 0 if place.folder is None else self._bytes_of(place.folder, record)
        folder = self._weights_folder(record)
        return self._bytes_of(folder, record) + self._cache_needed(folder, record)

    @each_file_once()
    def load(self, record: VersionRecord) -> tuple[Served, Lineage]:
        torch.set_num_threads(1)  # a pool of OpenMP threads here would slow the compute thread's down
        try:
            served, full_digest = self._load(record)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise _no_memory(record) from error
        try:
            served.probe()
        except BaseException:
            served.close()
            raise
        lineage = record.lineage.by(served.engine_name)
        if record.key.version == BASE_VERSION:
            lineage = replace(lineage, weights_digest=full_digest)
        return served, lineage

    def _load(self, record: VersionRecord) -> tuple[Served, str]:
        """A served model and the digest of its full weights."""
        resources = self._resources(record)
        place = self._place(record)
        if place is not None:
            key = self._host_key(place)
            generator = join(
                self._hosts,
                key,
                place,
                lambda: self._open_base(record, place, resources),
                resources,
                self._resting,
                self._tokenizers,
            )
            return generator, generator.weights_digest
        loaded = self._load_base(record) if record.key.version == BASE_VERSION else self._load_version(record)
        if record.kind in HOSTED and self._engines[record.key.model] == VLLM:
            return serve_on(self._open_vllm(loaded, resources), loaded, resources), loaded.card.weights_digest
        return serve(loaded.card.kind, loaded, resources), loaded.card.weights_digest

    def _place(self, record: VersionRecord) -> Place | None:
        if self._engines[record.key.model] != TORCH:
            return None
        return place_of(record, self._fetch, lambda: self._base(record))

    def _host_key(self, place: Place) -> str:
        return f"{place.base_digest} {self._settings.weights}"

    def _open_base(self, record: VersionRecord, place: Place, resources: Resources) -> Host:
        check_base(record, place, self._base(record))
        return open_host(self._load_base(record), resources)

    def _open_vllm(self, loaded: LoadedModel, resources: Resources) -> Host:
        if isinstance(loaded.model, VirtualTokens):
            raise FailedPrecondition(
                f"{resources.version} was trained with {loaded.card.method}, whose virtual tokens vLLM does not take: "
                "leave its model to the engine torch in FLYWHEEL_ENGINES"
            )
        if resources.int8:
            log.warning("FLYWHEEL_WEIGHTS=int8 is without effect on vLLM", version=resources.version)
        limits = limits_for(loaded.model.config, loaded.model.dtype, context_of(loaded), resources)
        ends = ends_of(loaded)
        python, threads = self._settings.vllm_python, max(1, self._settings.threads)
        engine = open_vllm(loaded, ends, limits, python=python, threads=threads)
        return host_of(engine, loaded, ends, model_bytes(loaded.model))

    def _base(self, record: VersionRecord) -> BaseModel:
        return self._reading.run(open_base, record.base, self._bases, self._artifacts)

    def _fetch(self, uri: str) -> Path:
        return self._reading.run(self._fetch_verified, uri)

    def _fetch_verified(self, uri: str) -> Path:
        folder = self._artifacts.fetch_folder(uri)
        weights_digest(folder)  # loading takes it again, from memory then
        return folder

    def _load_base(self, record: VersionRecord) -> LoadedModel:
        kind = kind_of_base(record.kind)
        base, dtype = self._base(record), self._dtype(kind)
        options = base_options(kind, base.path)
        with self._resting():
            return load_base(base, kind, max_length=CONTEXT_LIMIT, device=self._device, dtype=dtype, options=options)

    def _load_version(self, record: VersionRecord) -> LoadedModel:
        folder = self._fetch(record.weights_uri)
        base = self._base(record).path if find_method(record.method).adapter else None
        with self._resting():
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
        return self._fetch(record.weights_uri) if full else self._base(record).path

    def _bytes_of(self, folder: Path, record: VersionRecord) -> int:
        kept = torch.int8 if self._int8(record.kind) else DTYPES[self._dtype(record.kind)]
        return sum(tensor_file_bytes(path, kept) for path in folder.glob("*.safetensors"))

    def _cache_needed(self, folder: Path, record: VersionRecord) -> int:
        if record.kind not in HOSTED:
            return 0
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return cache_bytes_needed(config, DTYPES[self._dtype(record.kind)], self._resources(record))

    def _resources(self, record: VersionRecord) -> Resources:
        observe: Callable[[float], None] = metrics.INFERENCE_INTER_TOKEN_SECONDS.labels(record.key.model).observe
        return Resources(
            compute=self._compute,
            waiting_requests=self._settings.max_waiting_requests,
            waiting_tokens=self._settings.max_waiting_tokens,
            on_token=observe,
            version=str(record.key),
            int8=self._int8(record.kind),
            cache_bytes=self._settings.cache_bytes or cache_budget(self._settings.memory_bytes, self._device),
            cache_exactly=bool(self._settings.cache_bytes) or self._device.startswith("cuda"),
        )

    def _int8(self, kind: str) -> bool:
        return kind in HOSTED and self._settings.weights == "int8"

    def _dtype(self, kind: str) -> str:
        """Kinds that write freely as the setting says, or in bfloat16 where that is fast; others in the precision they
        are judged in."""
        if kind not in HOSTED or self._settings.weights == "float32":
            return "float32"
        return "bfloat16" if self._settings.weights == "bfloat16" or fast_at_bfloat16(self._device) else "float32"


def cache_budget(memory_bytes: int, device: str) -> int:
    """Bytes that keys and values of one engine may take: a quarter of what versions may take together, or on a CUDA
    device half of what is free before the weights come."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return memory_limit(memory_bytes, device) // 4


def out_of_memory(error: BaseException) -> bool:
    """torch has a type for it on CUDA only; on the CPU it says so in words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def _no_memory(record: VersionRecord) -> ResourceExhausted:
    return ResourceExhausted(
        f"not enough memory to load {record.key}: unload a version, lower FLYWHEEL_CACHE_BYTES, or keep weights as int8 "
        "with FLYWHEEL_WEIGHTS",
        retry_seconds=30.0,
    )
