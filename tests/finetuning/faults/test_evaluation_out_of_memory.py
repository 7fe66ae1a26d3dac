"""An evaluation that runs out of memory ends in a clear state; the worker goes on with the next one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from services.evaluation import subjects
from shared.errors import Unavailable
from shared.modeling.loading import LoadedModel, load_model
from shared.storage.database import Database
from shared.storage.tables import DeadLetter
from tests.integration.evaluation.world import World, sentiment_rows
from tests.support.tiny_models import tiny_model

ATTEMPTS = 2


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World(database, tmp_path, "classification", {"floors": {"accuracy": 0.8}}, max_attempts=ATTEMPTS)
    made.batch("first", sentiment_rows(24))
    made.dataset(1, ["first"])
    return made


class SmallMachine:
    """Loads models whose forward pass fails as torch's allocator does with more than `rows` rows at a time.

    A real limit would fail at a place that depends on the allocator's past, and might take the test down with it.
    """

    def __init__(self, error: Callable[[], Exception], rows: int) -> None:
        self._error, self._rows = error, rows
        self.loads = 0

    def __call__(self, *arguments: Any, **keys: Any) -> LoadedModel:
        self.loads += 1
        loaded = load_model(*arguments, **keys)
        loaded.model.register_forward_pre_hook(self._check, with_kwargs=True)
        return loaded

    def _check(self, module: torch.nn.Module, arguments: Any, keys: dict[str, Any]) -> None:
        if len(keys["input_ids"]) > self._rows:
            raise self._error()


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes"),
        MemoryError,
    ],
    ids=["gpu", "cpu", "python"],
)
def test_it_fails_after_its_attempts_with_the_reason_and_is_not_begun_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    machine = SmallMachine(error, rows=4)
    monkeypatch.setattr(subjects, "load_model", machine)
    handler = world.handler()
    version = world.trained(tiny_model(tmp_path / "large", "classification"), 1)
    for attempt in range(1, ATTEMPTS):
        with pytest.raises(Unavailable, match="OUT_OF_MEMORY"):
            world.evaluate(version, handler)
        assert (world.evaluation(version).state, world.evaluation(version).attempt) == ("queued", attempt)
    world.evaluate(version, handler)
    held = world.evaluation(version)
    assert (held.state, world.state(version), world.reports(version)) == ("failed", "trained", [])
    assert held.error.startswith("OUT_OF_MEMORY: a model and a batch of test rows do not fit")
    with world.database.read() as session:
        assert [letter.error for letter in session.scalars(select(DeadLetter))] == [held.error]
    world.evaluate(version, handler)
    assert machine.loads == ATTEMPTS, "a late duplicate began it again"

    monkeypatch.undo()
    next_one = world.trained(tiny_model(tmp_path / "small", "classification", seed=1), 1)
    world.evaluate(next_one, handler)
    assert world.evaluation(next_one).state == "succeeded"
