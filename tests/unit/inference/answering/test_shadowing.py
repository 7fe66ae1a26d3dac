"""Copies for shadows: counted, never in the way."""

import threading
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import REGISTRY

from services.inference.answering import shadowing
from services.inference.answering.shadowing import Shadows
from services.inference.deployments.registry import Registry
from services.inference.models.lineage import Key
from shared.errors import DeadlineExceeded
from shared.storage.ids import new_id
from tests.support.wait import eventually
from tests.unit.inference.deployments.fakes import FakeServed, held


@pytest.fixture
def model() -> str:
    """A name of its own, because metrics outlive a test."""
    return new_id("mood")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def shadows(registry: Registry) -> Iterator[Shadows]:
    made = Shadows(registry)
    made.start()
    yield made
    made.stop()


def counted(model: str, outcome: str) -> float:
    labels = {"model": model, "version": "2", "outcome": outcome}
    return REGISTRY.get_sample_value("flywheel_inference_shadows_total", labels) or 0.0


def fail(error: Exception) -> Callable[[FakeServed, float], bool | None]:
    def compare(served: FakeServed, deadline: float) -> bool | None:
        raise error

    return compare


@pytest.mark.parametrize(
    ("compare", "outcome"),
    [
        (lambda served, deadline: True, "agreed"),
        (lambda served, deadline: False, "differed"),
        (lambda served, deadline: None, "answered"),
        (fail(DeadlineExceeded("too late")), "failed"),
        (fail(ValueError("broken")), "failed"),
    ],
)
def test_every_outcome_is_counted(
    registry: Registry, shadows: Shadows, model: str, compare: shadowing.Compare, outcome: str
) -> None:
    key, _ = held(registry, 2, model=model)
    shadows.offer(key, FakeServed, compare)
    eventually(lambda: counted(model, outcome) == 1)


def test_a_shadow_that_is_not_loaded_is_skipped(shadows: Shadows, model: str) -> None:
    shadows.offer(Key(model, 2), FakeServed, lambda served, deadline: True)
    eventually(lambda: counted(model, "skipped") == 1)


def test_a_shadow_of_another_kind_fails(registry: Registry, shadows: Shadows, model: str) -> None:
    key, _ = held(registry, 2, model=model)
    shadows.offer(key, dict, lambda served, deadline: True)
    eventually(lambda: counted(model, "failed") == 1)


def test_a_copy_waits_while_a_real_request_does_and_is_skipped_when_that_lasts(
    registry: Registry, shadows: Shadows, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadowing, "PATIENCE_SECONDS", 0.05)
    key, served = held(registry, 2, model=model)
    served.waiting = 1
    shadows.offer(key, FakeServed, lambda served, deadline: True)
    eventually(lambda: counted(model, "skipped") == 1)
    served.waiting = 0
    shadows.offer(key, FakeServed, lambda served, deadline: True)
    eventually(lambda: counted(model, "agreed") == 1)


def test_offering_more_than_fits_skips_the_rest_and_never_blocks(
    registry: Registry, shadows: Shadows, model: str
) -> None:
    key, _ = held(registry, 2, model=model)
    release = threading.Event()
    for _ in range(shadowing.MAX_WAITING + 10):
        shadows.offer(key, FakeServed, lambda served, deadline: release.wait(20))
    assert 9 <= counted(model, "skipped") <= 10  # one may run already
    release.set()
    eventually(lambda: counted(model, "agreed") + counted(model, "skipped") == shadowing.MAX_WAITING + 10)
