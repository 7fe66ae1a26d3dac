"""Engines on tiny random models. One compute thread serves them all, as in the service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.inference.engine.compute import ComputeThread
from services.inference.engine.interface import Chunk, Finished, Output
from services.inference.engine.scheduler import Limits
from services.inference.engine.torch_engine import TorchEngine
from services.inference.kinds.generation import forward_for
from tests.unit.inference.engine.tiny import byte_tokenizer, tiny

Make = Callable[..., TorchEngine]
EOS = 257


@pytest.fixture(scope="session")
def compute() -> Iterator[ComputeThread]:
    made = ComputeThread(1)
    yield made
    made.close()


@pytest.fixture
def engine_of(compute: ComputeThread) -> Iterator[Make]:
    """Makes an engine: `engine_of("llama", slots=4, ...)` with any of the limits."""
    made: list[TorchEngine] = []

    def make(
        family: str = "llama",
        eos: frozenset[int] = frozenset({EOS}),
        on_health: Callable[[bool], None] = lambda healthy: None,
        **limits: Any,
    ) -> TorchEngine:
        bounds = Limits(**{"slots": 4, "max_length": 256, "busy_chunk": 16, "idle_chunk": 32, **limits})
        engine = TorchEngine(
            forward_for(tiny(family), bounds), byte_tokenizer(), eos, bounds, compute, on_health=on_health
        )
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def ids_of(outputs: list[Output]) -> list[int]:
    return [token for output in outputs if isinstance(output, Chunk) for token in output.token_ids]


def chunks_of(outputs: list[Output]) -> list[Chunk]:
    return [output for output in outputs if isinstance(output, Chunk)]


def text_of(outputs: list[Output]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, Chunk))


def end_of(outputs: list[Output]) -> Finished:
    last = outputs[-1]
    assert isinstance(last, Finished)
    return last
