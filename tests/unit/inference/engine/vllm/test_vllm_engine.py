"""The side of vLLM that is ours, against a program that only speaks like it. tests/contract runs the real one."""

import itertools
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.inference.engine.interface import Chunk, Finished, FinishReason, GenerationRequest, Sampling, Stopping
from services.inference.engine.scheduler import Limits
from services.inference.engine.vllm import engine as vllm
from services.inference.engine.vllm.engine import VllmEngine
from services.inference.engine.vllm.process import VllmSettings
from shared.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable
from tests.support.wait import eventually
from tests.unit.inference.engine.tiny import byte_tokenizer

FAKE = Path(__file__).with_name("fake_vllm.py")
Make = Callable[..., VllmEngine]
NUMBERS = itertools.count()
REFUSED, DEADLY, SLOW = 1, 2, 3


@pytest.fixture
def engine_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes an engine over the fake; `how` is what the fake is told."""
    monkeypatch.setattr(vllm, "PAUSE_SECONDS", 0.05)
    made: list[VllmEngine] = []

    def make(how: str = "well", python: str | None = None, **options: object) -> VllmEngine:
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, str(FAKE), how, str(tmp_path / 'began')])}\n")
        script.chmod(0o755)
        settings = VllmSettings(tmp_path, "float32", 200, 2, 1 << 20, python=python or str(script))
        limits = Limits(slots=2, max_length=200, waiting_requests=2, waiting_tokens=100)
        engine = VllmEngine(settings, byte_tokenizer(), frozenset({257}), limits, 258, **options)  # type: ignore[arg-type]
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def ask(*prompt: int, tokens: int = 3, **fields: object) -> GenerationRequest:
    stopping = Stopping(max_tokens=tokens)
    return GenerationRequest(f"r{next(NUMBERS)}", prompt, stopping=stopping, **fields)  # type: ignore[arg-type]


def reason_of(outputs: list[Chunk | Finished]) -> FinishReason:
    last = outputs[-1]
    assert isinstance(last, Finished)
    return last.reason


def test_answers_come_back_to_those_who_asked(engine_of: Make) -> None:
    engine = engine_of()
    streams = [engine.submit(ask(9, letter)) for letter in (65, 66)]
    texts = ["".join(one.text for one in stream if isinstance(one, Chunk)) for stream in streams]
    assert texts == ["AAA", "BBB"]


def test_what_vllm_refuses_hurts_that_request_only(engine_of: Make) -> None:
    engine = engine_of()
    other = engine.submit(ask(SLOW, 65, tokens=20))
    with pytest.raises(InvalidArgument, match="no ones"):
        list(engine.submit(ask(REFUSED, 65)))
    assert reason_of(list(other)) is FinishReason.LENGTH


def test_beams_and_adapters_are_refused_by_name(engine_of: Make) -> None:
    engine = engine_of()
    for field, request in (
        ("sampling.num_beams", ask(9, sampling=Sampling(num_beams=2))),
        ("adapter", ask(9, adapter="abc")),
    ):
        with pytest.raises(InvalidArgument) as refused:
            engine.submit(request)
        assert refused.value.metadata["field"] == field


def test_the_more_important_of_those_who_wait_goes_first(engine_of: Make) -> None:
    engine = engine_of()
    busy = [engine.submit(ask(SLOW, 65, tokens=20 * place)) for place in (1, 4)]
    late, early = ask(SLOW, 66, tokens=30), ask(SLOW, 67, tokens=30, priority=5)
    streams = {request.id: engine.submit(request) for request in (late, early)}
    list(busy[0])
    assert engine.load().waiting == 1
    list(streams[early.id])
    assert reason_of(list(streams[late.id])) is FinishReason.LENGTH
    list(busy[1])


def test_a_full_queue_refuses_by_requests_and_by_tokens(engine_of: Make) -> None:
    engine = engine_of()
    running = [ask(SLOW, 65, tokens=150) for _ in range(2)]
    for request in running:
        engine.submit(request)
    engine.submit(ask(*[SLOW] * 60, tokens=2))
    with pytest.raises(ResourceExhausted, match="tokens would wait"):
        engine.submit(ask(*[SLOW] * 60, tokens=2))
    engine.submit(ask(SLOW, 65))
    with pytest.raises(ResourceExhausted, match="requests would wait"):
        engine.submit(ask(SLOW, 65))


def test_a_deadline_ends_a_request_that_waits(engine_of: Make) -> None:
    engine = engine_of()
    for _ in range(2):
        engine.submit(ask(SLOW, 65, tokens=150))
    outputs = list(engine.submit(ask(SLOW, 66, deadline=time.monotonic() + 0.05)))
    assert [type(one) for one in outputs] == [Finished]
    assert reason_of(outputs) is FinishReason.DEADLINE
    assert engine.load().waiting == 0


def test_a_process_that_dies_ends_its_requests_and_is_replaced(engine_of: Make) -> None:
    heard: list[bool] = []
    engine = engine_of(on_health=heard.append)
    running, waiting = engine.submit(ask(SLOW, 65, tokens=150)), None
    deadly = engine.submit(ask(DEADLY))
    waiting = engine.submit(ask(SLOW, 65)) if engine.healthy and engine.load().running == 2 else None
    for stream in (running, deadly, *([waiting] if waiting else [])):
        with pytest.raises(Unavailable):
            list(stream)
    eventually(lambda: heard == [False, True])
    assert engine.healthy
    assert reason_of(list(engine.submit(ask(9, 65)))) is FinishReason.LENGTH


def test_while_there_is_no_process_requests_are_told_so(engine_of: Make) -> None:
    engine = engine_of("once")
    with pytest.raises(Unavailable):
        list(engine.submit(ask(DEADLY)))
    assert not engine.healthy
    with pytest.raises(Unavailable):
        engine.submit(ask(9, 65))


def test_closing_cancels_what_is_left_after_the_grace(engine_of: Make) -> None:
    closed: list[bool] = []
    engine = engine_of(on_close=lambda: closed.append(True))
    stream = engine.submit(ask(SLOW, 65, tokens=150))
    engine.close(grace_seconds=0.05)
    assert reason_of(list(stream)) is FinishReason.CANCELLED
    assert closed == [True]
    with pytest.raises(Unavailable):
        engine.submit(ask(9, 65))


def test_closing_lets_what_runs_finish_within_the_grace(engine_of: Make) -> None:
    engine = engine_of()
    stream = engine.submit(ask(SLOW, 65, tokens=10))
    engine.close(grace_seconds=20)
    assert reason_of(list(stream)) is FinishReason.LENGTH


def test_a_program_that_does_not_start_is_said_to(engine_of: Make) -> None:
    with pytest.raises(FailedPrecondition, match="exit code 3"):
        engine_of("broken")


def test_an_interpreter_that_is_not_there_is_named(engine_of: Make, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="FLYWHEEL_VLLM_PYTHON"):
        engine_of(python=str(tmp_path / "nothing"))
