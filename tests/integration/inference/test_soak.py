"""Swaps and rollbacks under streams and calls without pause; `python -m benchmarks.swaps` does it for longer."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from tests.integration.inference.platform import Platform
from tests.support.soak import CHAT, CLASSIFIER, Soak
from tests.support.wait import eventually

VERSIONS = 3
SWAPS = 20
ROLLBACKS = 5


@pytest.fixture
def both(tmp_path: Path, database: Database) -> Iterator[Platform]:
    """A classifier and a chat model with three versions each, in float32."""
    quiet_libraries()
    made = Platform(tmp_path, database, weights="float32")
    for model, kind in ((CHAT, "chat"), (CLASSIFIER, "classification")):
        made.declare(model, kind)
        for seed in range(1, VERSIONS + 1):
            made.add_version(model, kind, seed)
        made.point(model, 1)
    made.start()
    eventually(lambda: made.holds(CHAT, 1) and made.holds(CLASSIFIER, 1))
    yield made
    made.close()


def move(platform: Platform, version: int, kind: str = "promotion") -> float:
    """Points both champions at a version; the seconds until both serve it."""
    began = time.monotonic()
    for model in (CHAT, CLASSIFIER):
        platform.point(model, version, kind=kind)
    for model in (CHAT, CLASSIFIER):
        eventually(partial(platform.holds, model, version))
    return time.monotonic() - began


def test_swaps_and_rollbacks_under_load_lose_and_mix_nothing(both: Platform) -> None:
    soak = Soak(both.inference, VERSIONS)
    now = 1
    rollbacks = []
    with soak.running(streams=2, callers=2) as seen:
        for number in range(SWAPS):
            before, now = now, now % VERSIONS + 1
            move(both, now)
            if number % (SWAPS // ROLLBACKS) == 0:
                rollbacks.append(move(both, before, kind="rollback"))
                now = before
    assert seen.failed == []
    assert seen.mixed == []
    assert seen.versions == {(model, version) for model in (CHAT, CLASSIFIER) for version in range(1, VERSIONS + 1)}
    assert seen.answers > 50
    assert min(rollbacks) < 1.0  # the version before is warm
