"""Checkpoints: resumable state at a step, whole or absent, without pickle.

A checkpoint is a folder `step-00000012` with weights, optimizer and what the method has to remember as safetensors,
`state.json` and, written last, a manifest with the SHA-256 of each file. Random state is not in it: every batch has its own seed.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from services.finetuning.spec import FailureReason
from services.finetuning.training.cursor import Cursor
from services.finetuning.training.events import Events
from services.finetuning.training.failures import TrainingFailed
from services.finetuning.training.weights import TrainedWeights
from shared.modeling.digests import file_digest
from shared.modeling.folders import flush, whole_folder, write_tensors

MANIFEST = "manifest.json"
METHOD = "method.safetensors"


@dataclass(frozen=True)
class SavedCheckpoint:
    path: Path
    digest: str
    """Of the manifest, and so of everything."""
    seconds: float


class Checkpoints:
    """The checkpoints of one job, in one folder. `identity` ties them to a spec."""

    def __init__(self, folder: Path, identity: str, keep: int) -> None:
        self._folder = folder
        self._identity = identity
        self._keep = keep

    def save(
        self, cursor: Cursor, weights: TrainedWeights, optimizer: Optimizer, method: Mapping[str, Tensor]
    ) -> SavedCheckpoint:
        """Write a checkpoint of `cursor.step`, then drop the oldest; raises OSError, leaving the others intact."""
        started = time.monotonic()
        target = self._folder / f"step-{cursor.step:08d}"
        with whole_folder(target) as aside:
            write_tensors(aside / "weights.safetensors", {n: p.detach() for n, p in weights.masters.items()})
            write_tensors(aside / "optimizer.safetensors", _optimizer_tensors(weights, optimizer))
            if method:
                write_tensors(aside / METHOD, dict(method))
            _write_json(aside / "state.json", {"identity": self._identity, "cursor": asdict(cursor)})
            for path in sorted(aside.iterdir()):
                flush(path)
            _write_json(aside / MANIFEST, {path.name: file_digest(path) for path in sorted(aside.iterdir())})
        self._prune()
        return SavedCheckpoint(target, file_digest(target / MANIFEST), time.monotonic() - started)

    def discard_partial(self) -> None:
        """Remove what a killed process left half written."""
        for path in self._folder.glob(".step-*.partial"):
            shutil.rmtree(path)

    def newest(self) -> Iterator[Path]:
        """Checkpoint folders, newest first."""
        return iter(sorted(self._folder.glob("step-*"), reverse=True))

    def resume(
        self, weights: TrainedWeights, optimizer: Optimizer, events: Events
    ) -> tuple[Cursor, dict[str, Tensor]] | None:
        """Load the newest checkpoint that verifies, telling of those passed over; None when there is none.

        Raises TrainingFailed (BAD_SPEC) when it belongs to another spec.
        """
        self.discard_partial()
        for path in self.newest():
            if not verifies(path):
                events.log("warning", f"checkpoint {path.name} is damaged and passed over")
                continue
            try:
                return self.restore(path, weights, optimizer)
            except ValueError as error:
                raise TrainingFailed(FailureReason.BAD_SPEC, str(error)) from None
        return None

    def restore(self, path: Path, weights: TrainedWeights, optimizer: Optimizer) -> tuple[Cursor, dict[str, Tensor]]:
        """Load a checkpoint that `verifies`; what the method remembered comes back beside the cursor.

        Raises ValueError when it belongs to another spec.
        """
        state = json.loads((path / "state.json").read_text())
        if state["identity"] != self._identity:
            raise ValueError(f"checkpoint {path.name} was made with another spec or dataset version")
        weights.restore(load_file(path / "weights.safetensors"))
        for key, value in load_file(path / "optimizer.safetensors").items():
            name, _, entry = key.rpartition("/")
            # Cloned: where a file is mapped into memory decides its alignment, and that can decide the last bit.
            optimizer.state[weights.masters[name]][entry] = value.clone().to(weights.masters[name].device)
        method = load_file(path / METHOD) if (path / METHOD).exists() else {}
        return Cursor(**state["cursor"]), method

    def _prune(self) -> None:
        for path in list(self.newest())[self._keep :]:
            shutil.rmtree(path)


def verifies(path: Path) -> bool:
    """Whether every file of a checkpoint has the digest that its manifest gives."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return all(file_digest(path / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError):
        return False


def _optimizer_tensors(weights: TrainedWeights, optimizer: Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for name, master in weights.masters.items():
        for entry, value in optimizer.state.get(master, {}).items():
            tensors[f"{name}/{entry}"] = value
    return tensors


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
