"""Checkpoints: resumable state at a step, whole or absent, without pickle.

A checkpoint is a folder `step-00000012` with weights, optimizer and what the method has to remember as safetensors,
`state.json`, the log of rows so far and, written last, a manifest with the SHA-256 of each file. Random state is not in
it: every batch has its own seed.
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

from services.finetuning.checkpoint_files import MANIFEST, checkpoint_name, newest_first, verifies
from services.finetuning.spec import FailureReason
from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.checkpointing.rowlog import bring_back, copy_log
from services.finetuning.training.events import Events
from services.finetuning.training.failures import TrainingFailed
from services.finetuning.training.model.sharding import split_like, whole
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.digests import file_digest
from shared.modeling.folders import flush, whole_folder, write_tensors

METHOD = "method.safetensors"


@dataclass(frozen=True)
class SavedCheckpoint:
    path: Path
    digest: str
    """Of the manifest, and so of everything."""
    seconds: float


class Checkpoints:
    """The checkpoints of one job, in one folder. `identity` ties them to a spec, `revision` to the code.

    One that another revision made is continued only with `any_revision`: its bytes may differ from what this code makes.
    """

    def __init__(
        self, folder: Path, identity: str, keep: int, revision: str = "", *, any_revision: bool = False
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._keep = keep
        self._revision, self._any_revision = revision, any_revision
        self.other_revision = ""
        """Code revision that made the checkpoint which was resumed, where that is another one."""
        self._damaged: set[Path] = set()

    def save(
        self, cursor: Cursor, weights: TrainedWeights, optimizer: Optimizer, method: Mapping[str, Tensor]
    ) -> SavedCheckpoint:
        """Write a checkpoint of `cursor.step`, then drop the oldest; raises OSError, leaving the others intact."""
        started = time.monotonic()
        target = self._folder / checkpoint_name(cursor.step)
        with whole_folder(target) as aside:
            write_tensors(aside / "weights.safetensors", dict(whole_weights(weights)))
            write_tensors(aside / "optimizer.safetensors", dict(whole_optimizer(weights, optimizer)))
            if method:
                write_tensors(aside / METHOD, dict(method))
            copy_log(self._folder.parent, cursor.rows_log_bytes, aside)
            state = {"identity": self._identity, "revision": self._revision, "cursor": asdict(cursor)}
            _write_json(aside / "state.json", state)
            for path in sorted(aside.iterdir()):
                flush(path)
            _write_json(aside / MANIFEST, {path.name: file_digest(path) for path in sorted(aside.iterdir())})
        self._damaged.discard(target)
        self._prune()
        return SavedCheckpoint(target, file_digest(target / MANIFEST), time.monotonic() - started)

    def _tidy(self) -> None:
        """Remove what a killed process left half written."""
        for path in self._folder.glob(".step-*.partial"):
            shutil.rmtree(path)

    def resume(
        self, weights: TrainedWeights, optimizer: Optimizer, events: Events
    ) -> tuple[Cursor, dict[str, Tensor]] | None:
        """Load the newest checkpoint that verifies, telling of those passed over; None when there is none.

        Raises TrainingFailed when it belongs to another spec (BAD_SPEC) or another code revision made it (REVISION).
        """
        self._tidy()
        for path in newest_first(self._folder):
            if not verifies(path):
                events.log("warning", f"checkpoint {path.name} is damaged and passed over")
                self._damaged.add(path)
                continue
            try:
                return self.restore(path, weights, optimizer)
            except ValueError as error:
                raise TrainingFailed(FailureReason.BAD_SPEC, str(error)) from None
        return None

    def restore(self, path: Path, weights: TrainedWeights, optimizer: Optimizer) -> tuple[Cursor, dict[str, Tensor]]:
        """Load a checkpoint that `verifies`; what the method remembered comes back beside the cursor.

        Raises ValueError when it belongs to another spec, and TrainingFailed when another code revision made it.
        """
        state = json.loads((path / "state.json").read_text())
        if state["identity"] != self._identity:
            raise ValueError(f"checkpoint {path.name} was made with another spec or dataset version")
        self._check_revision(path, state.get("revision", ""))
        weights.restore(load_file(path / "weights.safetensors"))
        for key, value in load_file(path / "optimizer.safetensors").items():
            name, _, entry = key.rpartition("/")
            # Cloned: where a file is mapped into memory decides its alignment, and that can decide the last bit.
            master = weights.masters[name]
            optimizer.state[master][entry] = split_like(value.clone().to(master.device), master)
        method = load_file(path / METHOD) if (path / METHOD).exists() else {}
        self._bring_back_log(path)
        return Cursor(**state["cursor"]), method

    def _bring_back_log(self, path: Path) -> None:
        bring_back(path, self._folder.parent)

    def _check_revision(self, path: Path, made_by: str) -> None:
        """Checkpoints of old tell no revision; they are continued."""
        if not (made_by and self._revision) or made_by == self._revision:
            return
        if not self._any_revision:
            raise TrainingFailed(
                FailureReason.REVISION,
                f"checkpoint {path.name} was made by code revision {made_by}, this worker has {self._revision}; "
                "resume it where that revision runs, or declare that another may go on (--allow-revision)",
            )
        self.other_revision = made_by

    def _prune(self) -> None:
        """Leave the newest good ones; of what is damaged, none."""
        good = [path for path in newest_first(self._folder) if path not in self._damaged]
        for path in [*good[self._keep :], *self._damaged]:
            _remove(path)
        self._damaged.clear()


def _remove(path: Path) -> None:
    """At no moment does half of it look like a checkpoint."""
    gone = path.with_name(f".{path.name}.gone.partial")
    path.rename(gone)
    shutil.rmtree(gone)


def whole_weights(weights: TrainedWeights) -> Iterator[tuple[str, Tensor]]:
    """Masters by name; where they are in pieces every process has to go through them."""
    for name, master in weights.masters.items():
        yield name, whole(master.detach())


def whole_optimizer(weights: TrainedWeights, optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """The optimizer's tensors by `weight/entry`, likewise."""
    for name, master in weights.masters.items():
        for entry, value in optimizer.state.get(master, {}).items():
            yield f"{name}/{entry}", whole(value)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
