"""Ours: a run as the platform trains it, then its model on the rows that judge."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from torch import Tensor

from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material
from benchmarks.quality.studies import Methods, Study
from services.evaluation.kinds import find_kind
from services.finetuning.spec import DatasetInput, DatasetPart, TrainingSpec
from services.finetuning.training.app import run_training
from services.finetuning.training.events import Events
from services.finetuning.training.stopping import StopRequest
from shared.modeling.bases import resolve_base
from shared.modeling.devices import fast_at_bfloat16
from shared.modeling.digests import file_digest
from shared.modeling.loading import load_model
from shared.modeling.methods import find_method
from shared.pipelines.methods import MethodConfig, resolve_method

Event = dict[str, Any]
Read = Callable[[], Tensor]
TOLD_EVERY_SECONDS = 30.0


class TrainingFailed(Exception):
    """The run gave up; the message is its own."""


def ours(study: Study, methods: Methods) -> Iterator[Contender | ValueError]:
    """A contender for each method; the reason why not, where the study's kind has no such method."""
    for name, keys in methods.items():
        try:
            config = resolve_method(study.kind, {"name": name, **keys})
        except ValueError as error:
            yield error
            continue
        answer = partial(train_and_answer, config=config)
        yield Contender(name, answer, config.decides(), seeded=True, ours=True)


def train_and_answer(material: Material, seed: int, tools: Tools, config: MethodConfig) -> Answer:
    """Raises TrainingFailed."""
    with TemporaryDirectory(dir=tools.work) as folder:
        spec = _spec(material, seed, tools, config, Path(folder))
        began = time.monotonic()
        finished = _run(spec)
        seconds = time.monotonic() - began
        base = resolve_base(spec.base, spec.base_cache)
        kind = find_kind(spec.kind, spec.options)
        dtype = "bfloat16" if kind.half_precision and fast_at_bfloat16("cpu") else "float32"
        adapter = find_method(config.name).adapter
        loaded = load_model(spec.output_dir, base=base.path if adapter else None, dtype=dtype)
        outputs = kind.predict(loaded, material.test, _nothing)
        share = trained_share(spec.output_dir, base.path)
    figures = {"training_seconds": seconds, "steps": float(finished["steps"]), "trained_share": share}
    return Answer(outputs, figures)


def trained_share(folder: Path, base: Path) -> float:
    """Trained parameters over the base's: an adapter's, or those of every tensor that differs from the base's."""
    before = _tensors(base)
    total = sum(read().numel() for read in before.values())
    adapter = folder / "adapter_model.safetensors"
    after = _tensors(adapter if adapter.is_file() else folder)
    return sum(read().numel() for name, read in after.items() if not _is_untouched(name, read, before)) / total


def _tensors(path: Path) -> dict[str, Read]:
    """Tensors of a safetensors file, or of all in a folder, read when called."""
    files: list[Any] = [
        safe_open(file, framework="pt") for file in (path.glob("*.safetensors") if path.is_dir() else [path])
    ]
    return {name: partial(file.get_tensor, name) for file in files for name in file.keys()}  # noqa: SIM118


def _is_untouched(name: str, read: Read, before: dict[str, Read]) -> bool:
    """Whether the base has this tensor, under the same name or one without the part that a head was put on."""
    known = next((tensor for other, tensor in before.items() if f".{name}".endswith(f".{other}")), None)
    return known is not None and torch.equal(known().to(read().dtype), read())


def _spec(material: Material, seed: int, tools: Tools, config: MethodConfig, folder: Path) -> TrainingSpec:
    part = folder / "part.parquet"
    pq.write_table(pa.Table.from_pylist(material.train), part)
    return TrainingSpec(
        run=f"{material.study.name}-{config.name}-{seed}",
        job="quality",
        pipeline=material.study.name,
        kind=material.study.kind,
        base=material.study.base,
        base_cache=tools.bases,
        method=config,
        labels=None,
        dataset=DatasetInput(material.digest, (DatasetPart(part, file_digest(part)),)),
        work_dir=folder / "work",
        output_dir=folder / "model",
        seed=seed,
        threads=tools.threads,
        checkpoint_every_seconds=None,
        options=material.spec.options,
    )


def _run(spec: TrainingSpec) -> Event:
    """What the run tells at its end. It runs in this process, which has torch already; seconds are of the run alone."""
    events = Listener()
    try:
        run_training(spec, events, NeverStop())
    finally:
        torch.use_deterministic_algorithms(False)
    if events.last["event"] != "finished":
        raise TrainingFailed(f"{spec.run}: {events.last.get('message', events.last)}")
    return events.last


class NeverStop(StopRequest):
    """Who stops the benchmark stops the run."""

    wanted = False


class Listener(Events):
    """Keeps the newest event, and now and then says how far the run is."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.last: Event = {}
        self._told = time.monotonic()

    def send(self, event: str, **values: Any) -> None:
        self.last = {"event": event, **values}
        if event == "progress" and time.monotonic() - self._told > TOLD_EVERY_SECONDS:
            self._told = time.monotonic()
            told = f"  step {values['step']} of {values['total_steps']}, loss {values['loss']:.3f}"
            print(told, file=sys.stderr, flush=True)


def _nothing(done: int) -> None:
    pass
