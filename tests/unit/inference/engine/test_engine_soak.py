"""Everything at once in a small cache: each request gets what it would get alone, and every page comes back."""

import random
from typing import Any

from services.inference.engine.cache import PAGE
from services.inference.engine.interface import Chunk, FinishReason, GenerationRequest, Output, Sampling, Stopping
from tests.unit.inference.engine.conftest import Make, end_of


def mixture(count: int, seed: int) -> list[GenerationRequest]:
    """Greedy, sampled, several answers, beams; prompts of all lengths, many with the same beginning."""
    numbers = random.Random(seed)
    common = [numbers.randrange(256) for _ in range(120)]
    requests = []
    for index in range(count):
        own = tuple(numbers.randrange(256) for _ in range(numbers.choice([1, 5, 40])))
        prompt = (*common[: numbers.choice([0, 31, 32, 64, 100])], *own)
        ways: list[dict[str, Any]] = [
            {},
            {"sampling": Sampling(temperature=1.1, seed=index)},
            {"sampling": Sampling(temperature=1.4, seed=index), "n": 3},
            {"sampling": Sampling(num_beams=3), "n": 2},
        ]
        stopping = Stopping(max_tokens=numbers.randint(1, 40), ignore_eos=True)
        salt = numbers.choice(["", "a"])
        requests.append(GenerationRequest(f"r{index}", prompt, stopping=stopping, salt=salt, **numbers.choice(ways)))
    return requests


def tokens(outputs: list[Output]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for output in outputs:
        if isinstance(output, Chunk):
            found.setdefault(output.index, []).extend(output.token_ids)
    return found


def test_a_mixed_crowd_with_cancels_in_a_small_cache(engine_of: Make) -> None:
    requests = mixture(40, seed=6)
    alone = engine_of(slots=8, reuse=False, speculate=0)
    expected = [tokens(list(alone.submit(request))) for request in requests]
    engine = engine_of(slots=8, cache_tokens=20 * PAGE)
    numbers = random.Random(1)
    streams = [engine.submit(request) for request in requests]
    cancelled = {index for index in range(len(requests)) if numbers.random() < 0.3 and engine.cancel(f"r{index}")}
    for index, stream in enumerate(streams):
        outputs = list(stream)
        if end_of(outputs).reason is FinishReason.CANCELLED:
            assert index in cancelled
            for answer, found in tokens(outputs).items():
                assert found == expected[index][answer][: len(found)]
        else:
            assert tokens(outputs) == expected[index]
    cache = engine._forward.cache
    assert engine.load().idle
    assert (cache.used, cache.available) == (0, 20)
    assert not any(cache._users)
