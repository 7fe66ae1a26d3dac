"""Checkpoints as the training process leaves them, and how they get to other machines."""

import json
from hashlib import sha256
from pathlib import Path

from services.finetuning.attempts import Attempt
from services.finetuning.checkpoint_files import checkpoint_name, newest_first, verifies
from services.finetuning.checkpoint_store import CheckpointStore, fetch_newest
from services.finetuning.workplace import Workplace
from shared.storage.artifacts import Artifacts
from tests.integration.finetuning.support import World
from tests.support.wait import eventually

RUN = "run-of-this-attempt"


class Elsewhere(Artifacts):
    """A folder that behaves like a store on another machine."""

    def __init__(self, url: str, cache: Path) -> None:
        super().__init__(url, cache)
        self.is_local = False


def write(world: World, attempt: Attempt, step: int) -> dict[str, object]:
    """A checkpoint as the training process leaves it; the event that tells of it."""
    folder = Workplace(world.settings.home, attempt.job.id).checkpoints / checkpoint_name(step)
    folder.mkdir(parents=True)
    content = {"weights.safetensors": bytes(range(200)) * step, "state.json": b"{}"}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    manifest = json.dumps({name: sha256(data).hexdigest() for name, data in content.items()})
    (folder / "manifest.json").write_text(manifest)
    digest = sha256(manifest.encode()).hexdigest()
    return {"event": "checkpoint", "step": step, "path": str(folder), "digest": digest, "seconds": 0.1}


def recorded(world: World, attempt: Attempt) -> list[int]:
    return [event["step"] for event in world.events(attempt.job.id, "checkpoint")]


def stored(world: World, attempt: Attempt) -> list[str]:
    """Names in the store; some keep an empty folder of what was there."""
    root = f"checkpoints/{attempt.job.id}/{RUN}"
    return [name for name in world.artifacts.list(root) if world.artifacts.list(f"{root}/{name}")]


def kept(world: World, attempt: Attempt, store: CheckpointStore, steps: list[int]) -> None:
    """Written, stored and in the books."""
    for step in steps:
        store.keep(write(world, attempt, step))
        eventually(lambda step=step: step in recorded(world, attempt))  # type: ignore[misc]


def fetched(world: World, attempt: Attempt, there: Artifacts) -> tuple[list[str], list[str]]:
    """What another machine gets, and what it is told."""
    told: list[str] = []
    place = Workplace(world.settings.home / "there", attempt.job.id)
    fetch_newest(world.database, there, attempt.job.id, place, told.append)
    names = [path.name for path in newest_first(place.checkpoints)]
    assert all(verifies(place.checkpoints / name) for name in names)
    assert not list(place.folder.rglob(".*"))
    return names, told
