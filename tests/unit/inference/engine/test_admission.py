"""Who goes first, who is refused at the door, and how long a chunk may be."""

import time
from typing import Any

import pytest

from services.inference.engine.admission import SMALLEST_CHUNK, Pace
from services.inference.engine.interface import GenerationRequest, Stopping, Stream
from services.inference.engine.scheduler import AGEING_SECONDS
from services.inference.engine.torch_engine import TorchEngine
from shared.errors import DeadlineExceeded, ResourceExhausted
from tests.support.wait import eventually
from tests.unit.inference.engine.conftest import Make, end_of

ONE = Stopping(max_tokens=1, ignore_eos=True)
LONG = Stopping(max_tokens=250, ignore_eos=True)


def ask(engine: TorchEngine, name: str, **fields: Any) -> Stream:
    return engine.submit(GenerationRequest(name, (1, 2, 3), **{"stopping": ONE, **fields}))


def order(engine: TorchEngine, *asked: dict[str, Any]) -> list[int]:
    """Indices of the requests in the order in which they were admitted, after one that kept the engine busy."""
    ask(engine, "busy", stopping=LONG)
    eventually(lambda: engine.load().running == 1)
    with engine._changed:
        streams = [ask(engine, f"r{n}", **fields) for n, fields in enumerate(asked)]
        arrived = [one.arrived for one in engine._scheduler.waiting]
        engine.cancel("busy")
    waited = [end_of(list(stream)).timings.queue_seconds for stream in streams]
    return sorted(range(len(asked)), key=lambda index: arrived[index] + waited[index])


def test_priority_goes_first_then_the_earliest_deadline_then_arrival(engine_of: Make) -> None:
    now = time.monotonic()
    found = order(
        engine_of(slots=1),
        {},
        {"deadline": now + 900},
        {"deadline": now + 300},
        {"priority": 3},
        {},
    )
    assert found == [3, 2, 1, 0, 4]


def test_waiting_raises_a_request(engine_of: Make) -> None:
    engine = engine_of(slots=1)
    ask(engine, "busy", stopping=LONG)
    eventually(lambda: engine.load().running == 1)
    with engine._changed:
        low, high = ask(engine, "low", priority=-1), ask(engine, "high")
        engine._scheduler.waiting[0].arrived -= 2.5 * AGEING_SECONDS
        engine.cancel("busy")
    assert end_of(list(high)).timings.queue_seconds >= 0
    waits = {name: end_of(list(stream)).timings for name, stream in (("low", low),)}
    assert waits["low"].queue_seconds >= 2.5 * AGEING_SECONDS


def test_an_expired_request_is_refused_and_never_computed(engine_of: Make) -> None:
    with pytest.raises(DeadlineExceeded):
        ask(engine_of(), "late", deadline=time.monotonic() - 1)


def test_a_deadline_that_the_queue_will_break_is_refused_with_a_time_to_retry(engine_of: Make) -> None:
    engine = engine_of(slots=1)
    busy = ask(engine, "busy", stopping=LONG)
    eventually(lambda: engine.load().running == 1)
    with engine._changed:
        engine._scheduler.pace.decode_step = 1.0
        with pytest.raises(ResourceExhausted, match=r"would come after about .* the deadline is in") as refused:
            ask(engine, "hopeless", deadline=time.monotonic() + 0.1)
        assert refused.value.retry_seconds > 0
        patient = ask(engine, "patient", deadline=time.monotonic() + 3000)
        engine.cancel("busy")
    list(busy)
    assert end_of(list(patient)).usage.completion_tokens == 1


def test_a_chunk_is_as_long_as_the_step_allows() -> None:
    pace = Pace()
    assert pace.chunk(0.05, 256, 0) == 256
    for _ in range(3):
        pace.observe_step(0.02, 0)
        pace.observe_step(0.07, 100)
    assert pace.decode_step == pytest.approx(0.02)
    assert pace.prompt_token == pytest.approx(0.0005)
    assert pace.chunk(0.05, 256, 0) == pytest.approx(60, abs=1)
    assert pace.chunk(0.05, 256, 200) == pytest.approx(70, abs=1)
    assert pace.chunk(0.05, 256, 100_000) == pytest.approx(110, abs=1)
    assert pace.chunk(0.05, 40, 0) == 40
    assert pace.chunk(0.05, 256, 0, crowd=0.5) == pace.chunk(0.05, 256, 0)
    assert pace.chunk(0.05, 256, 0, crowd=0.9) == pytest.approx(140, abs=1)
    assert pace.chunk(0.001, 256, 0) == pytest.approx(40, abs=1)
    pace.prompt_token = 1.0
    assert pace.chunk(0.001, 256, 0) == SMALLEST_CHUNK
    assert pace.chunk(0.001, 8, 0) == 8


def test_the_cost_of_a_step_is_found_also_when_each_has_prompt_tokens() -> None:
    pace = Pace()
    pace.observe_step(0.1, 50)
    assert pace.prompt_token == pytest.approx(0.002)
    for tokens in (100, 40, 70, 100, 100):
        pace.observe_step(0.02 + 0.001 * tokens, tokens)
    for _ in range(200):
        pace.observe_step(0.02 + 0.001 * 100, 100)
    assert pace.prompt_token == pytest.approx(0.001, rel=0.3)
    assert pace.decode_step == pytest.approx(0.02, abs=0.03)


def test_the_estimated_wait_counts_prompts_and_the_places_that_come_free() -> None:
    pace = Pace(decode_step=0.1, prompt_token=0.01, used=0.5)
    assert pace.wait(100, 0, [50, 10]) == pytest.approx(1.0)
    assert pace.wait(100, 1, [50, 10]) == pytest.approx(1.0 + 10 * 0.05)
    assert pace.wait(100, 2, [50, 10]) == pytest.approx(1.0 + 50 * 0.05)
    assert pace.wait(0, 3, [50, 10]) == pytest.approx((50 + 10) * 0.05)
    assert Pace().wait(100, 5, [50]) == 0.0
