"""What goes wrong hurts as few as it can, and nobody waits for ever."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from services.inference.engine.interface import FinishReason, GenerationRequest, Sampling, Stopping
from services.inference.engine.step import Step
from services.inference.engine.torch_engine import TorchEngine
from shared.errors import InvalidArgument, ResourceExhausted, Unavailable
from tests.support.wait import eventually
from tests.unit.inference.engine.conftest import Make, end_of, ids_of

LONG = Stopping(max_tokens=200, ignore_eos=True)
POISON = 77


class Choosy:
    """A forward pass that fails on steps with a certain token in them."""

    def __init__(self, sound: Any, error: Callable[[], BaseException]) -> None:
        self.cache, self.vocabulary, self.memory_bytes = sound.cache, sound.vocabulary, 0
        self._sound, self._error = sound, error

    def __call__(self, step: Step) -> torch.Tensor:
        if any(POISON in segment.tokens for segment in step.segments):
            raise self._error()
        logits: torch.Tensor = self._sound(step)
        logits[:, POISON] = -1e9
        return logits


def spoil(engine: TorchEngine, error: Callable[[], BaseException]) -> None:
    engine._forward = Choosy(engine._forward, error)


def test_a_failure_over_one_request_leaves_the_others_alone(engine_of: Make) -> None:
    engine = engine_of()
    spoil(engine, lambda: RuntimeError("out of luck"))
    alone = [ids_of(list(engine.submit(GenerationRequest("r", (n, 2), stopping=LONG)))) for n in range(3)]
    good = [engine.submit(GenerationRequest(f"g{n}", (n, 2), stopping=LONG)) for n in range(3)]
    bad = end_of(list(engine.submit(GenerationRequest("bad", (1, POISON), stopping=LONG))))
    assert (bad.reason, bad.error) == (FinishReason.ERROR, "the engine failed: out of luck")
    assert [ids_of(list(stream)) for stream in good] == alone
    assert engine.healthy
    assert engine._forward.cache.used == 0


def test_running_out_of_memory_is_a_refusal_and_the_engine_goes_on(engine_of: Make) -> None:
    engine = engine_of()
    spoil(engine, lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    with pytest.raises(ResourceExhausted, match="out of memory"):
        list(engine.submit(GenerationRequest("bad", (POISON,), stopping=LONG)))
    assert end_of(list(engine.submit(GenerationRequest("good", (1,), stopping=LONG)))).reason is FinishReason.LENGTH


@pytest.mark.parametrize("error", [SystemExit("killed"), MemoryError("gone")])
def test_a_dead_engine_fails_its_requests_as_unavailable_and_serves_again(
    engine_of: Make, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    heard: list[bool] = []
    engine = engine_of(slots=1, on_health=heard.append)
    plain = ids_of(list(engine.submit(GenerationRequest("before", (1, 2), stopping=LONG))))

    def die(*_: object) -> None:
        monkeypatch.undo()
        raise error

    streams = [engine.submit(GenerationRequest(f"r{n}", (1, 2), stopping=LONG)) for n in range(3)]
    monkeypatch.setattr(engine, "_measure", die)
    ends = [_end(stream) for stream in streams]
    assert sum(isinstance(end, Unavailable) for end in ends) >= 2
    eventually(lambda: heard == [False, True] and engine.healthy)
    assert engine.load().idle
    assert engine._forward.cache.available == engine._forward.cache.pages
    assert ids_of(list(engine.submit(GenerationRequest("after", (1, 2), stopping=LONG)))) == plain


def test_a_dead_engine_takes_no_requests_until_it_is_back(engine_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    down, go_on = threading.Event(), threading.Event()

    def on_health(healthy: bool) -> None:
        down.set()
        go_on.wait(10)

    engine = engine_of(on_health=on_health)

    def die(*_: object) -> None:
        raise RuntimeError("dead")

    monkeypatch.setattr(engine._scheduler, "plan", die)
    with pytest.raises(Unavailable, match="the engine stopped: dead"):
        list(engine.submit(GenerationRequest("r", (1,), stopping=LONG)))
    assert down.wait(10)
    assert not engine.healthy
    with pytest.raises(Unavailable, match="starts again"):
        engine.submit(GenerationRequest("late", (1,), stopping=LONG))
    go_on.set()
    eventually(lambda: engine.healthy)


def test_ten_thousand_cancels_leave_no_page_and_no_request_behind(engine_of: Make) -> None:
    engine = engine_of(slots=4, waiting_requests=100, waiting_tokens=100_000)
    for start in range(0, 10_000, 50):
        streams = [
            engine.submit(GenerationRequest(f"r{n}", (n % 250, *range(n % 40)), stopping=LONG, n=1 + n % 3))
            for n in range(start, start + 50)
        ]
        for stream in streams:
            assert engine.cancel(stream.request_id)
        for stream in streams:
            assert end_of(list(stream)).reason is FinishReason.CANCELLED
    cache = engine._forward.cache
    assert engine.load().idle
    assert (cache.used, cache.available) == (0, cache.pages)
    assert not any(cache._users)
    assert len(engine._scheduler.paging._prefixes) == cache.kept


def test_a_reader_that_never_reads_blocks_nobody(engine_of: Make) -> None:
    engine = engine_of(slots=2)
    unread = engine.submit(GenerationRequest("unread", (1,), stopping=LONG))
    assert end_of(list(engine.submit(GenerationRequest("read", (2,), stopping=LONG)))).reason is FinishReason.LENGTH
    eventually(lambda: engine.load().idle)
    assert unread._outputs.qsize() <= 201
    outputs = list(unread)
    assert len(outputs) == 2, "what piled up comes as one chunk"
    assert len(ids_of(outputs)) == 200


def test_a_request_that_can_never_fit_is_refused_with_the_limit(engine_of: Make) -> None:
    engine = engine_of(cache_tokens=96)
    for fields in (
        {"n": 4, "stopping": Stopping(30)},
        {"sampling": Sampling(num_beams=4), "stopping": Stopping(30)},
    ):
        with pytest.raises(InvalidArgument, match="the cache has 96: lower max_tokens") as refused:
            engine.submit(GenerationRequest("r", (1,), **{"stopping": LONG, **fields}))  # type: ignore[arg-type]
        assert refused.value.metadata["field"] == "stopping.max_tokens"
    with pytest.raises(InvalidArgument, match="at most 95 fit"):
        engine.submit(GenerationRequest("r", (1,) * 96, stopping=Stopping(1)))
    whole = end_of(list(engine.submit(GenerationRequest("r", (1,), stopping=Stopping(ignore_eos=True)))))
    assert (whole.reason, whole.usage.completion_tokens) == (FinishReason.LENGTH, 95)


def _end(stream: Any) -> object:
    try:
        return end_of(list(stream))
    except Unavailable as error:
        return error


def test_a_cancel_frees_memory_within_a_step(engine_of: Make) -> None:
    engine = engine_of(max_length=512)
    stream = engine.submit(GenerationRequest("r", tuple(range(200)), stopping=Stopping(300, ignore_eos=True)))
    next(iter(stream))
    began = time.monotonic()
    engine.cancel("r")
    assert end_of(list(stream)).reason is FinishReason.CANCELLED
    assert engine._forward.cache.used == 0
    assert time.monotonic() - began < 10
