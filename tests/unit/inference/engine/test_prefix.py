"""Equal beginnings are computed once, with the same tokens; strangers never share."""

from typing import Any

import pytest

from services.inference.engine.adapters import Adapter
from services.inference.engine.cache import PAGE
from services.inference.engine.interface import GenerationRequest, Sampling, Stopping
from services.inference.engine.torch_engine import TorchEngine
from tests.unit.inference.engine.conftest import Make, end_of, ids_of
from tests.unit.inference.engine.test_torch_engine import prompts

SHORT = Stopping(max_tokens=12, ignore_eos=True)
LONG_PROMPT = tuple(number % 251 for number in range(150))


def ask(engine: TorchEngine, prompt: tuple[int, ...], **fields: Any) -> tuple[list[int], int]:
    """Tokens of the answer, and how many of the prompt came from the cache."""
    outputs = list(engine.submit(GenerationRequest("r", prompt, **{"stopping": SHORT, **fields})))
    return ids_of(outputs), end_of(outputs).usage.cached_tokens


def test_tokens_are_equal_with_and_without_reuse(engine_of: Make) -> None:
    tails = [(), (1,), (2, 3), tuple(range(40))]
    asked = [LONG_PROMPT[:length] + tail for length in (31, 32, 33, 64, 65, 150) for tail in tails]
    sampled = Sampling(temperature=1.2, top_p=0.9, seed=3)
    plain, reusing = engine_of(reuse=False), engine_of(reuse=True)
    for sampling in (Sampling(), sampled):
        expected = [ask(plain, prompt, sampling=sampling) for prompt in asked]
        found = [ask(reusing, prompt, sampling=sampling) for prompt in asked]
        assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
        assert {cached for _, cached in expected} == {0}
        assert sum(cached for _, cached in found) > len(asked) * PAGE
    assert reusing._forward.cache.used == 0


def test_the_last_token_of_a_prompt_is_always_computed(engine_of: Make) -> None:
    engine = engine_of()
    for length, cached in ((64, 32), (65, 64), (33, 32), (32, 0)):
        ask(engine, LONG_PROMPT[:length])
        assert ask(engine, LONG_PROMPT[:length])[1] == cached


def test_an_answer_is_reused_by_the_next_turn(engine_of: Make) -> None:
    engine = engine_of()
    answer, _ = ask(engine, LONG_PROMPT[:60], stopping=Stopping(max_tokens=50, ignore_eos=True))
    _, cached = ask(engine, (*LONG_PROMPT[:60], *answer, 1, 2, 3))
    assert cached == 96


def test_another_salt_or_adapter_shares_nothing(engine_of: Make) -> None:
    engine = engine_of()
    engine.add_adapter(Adapter("abc", {}))
    for fields in ({}, {"salt": "a"}, {"salt": "b"}, {"adapter": "abc"}, {"adapter": "abc", "salt": "a"}):
        assert ask(engine, LONG_PROMPT, **fields)[1] == 0
        assert ask(engine, LONG_PROMPT, **fields)[1] == 128


def test_a_neighbour_in_the_same_batch_is_caught_up_with(engine_of: Make) -> None:
    engine = engine_of(idle_chunk=PAGE, busy_chunk=PAGE)
    streams = [engine.submit(GenerationRequest(f"r{n}", LONG_PROMPT, stopping=SHORT)) for n in range(3)]
    seen = [list(stream) for stream in streams]
    assert len({tuple(ids_of(outputs)) for outputs in seen}) == 1
    assert sorted(end_of(outputs).usage.cached_tokens for outputs in seen)[1:] == [128, 128]


def test_kept_pages_give_way_to_new_requests(engine_of: Make) -> None:
    engine, fresh = engine_of(cache_tokens=12 * PAGE), engine_of(reuse=False)
    asked = prompts(30, seed=8)
    assert [ask(engine, prompt)[0] for prompt in asked] == [ask(fresh, prompt)[0] for prompt in asked]
    cache = engine._forward.cache
    assert (cache.used, cache.available) == (0, 12)
    assert len(engine._scheduler.paging._prefixes) == cache.kept > 0


@pytest.mark.parametrize("n", [1, 3])
def test_a_small_cache_serves_a_crowd_without_running_out(engine_of: Make, n: int) -> None:
    engine = engine_of(slots=8, cache_tokens=18 * PAGE)
    alone = engine_of(slots=8)
    asked = [(*LONG_PROMPT[: 40 * (k % 4)], *prompt[:60]) for k, prompt in enumerate(prompts(24, seed=4))]
    hot = Sampling(temperature=1.0, seed=5)
    requests = [
        GenerationRequest(f"r{k}", prompt, stopping=Stopping(30, ignore_eos=True), sampling=hot, n=n)
        for k, prompt in enumerate(asked)
    ]
    expected = [list(alone.submit(request)) for request in requests]
    streams = [engine.submit(request) for request in requests]
    found = [list(stream) for stream in streams]
    assert [_by_index(outputs) for outputs in found] == [_by_index(outputs) for outputs in expected]
    assert engine._forward.cache.used == 0


def _by_index(outputs: list[Any]) -> dict[int, list[int]]:
    tokens: dict[int, list[int]] = {}
    for chunk in outputs[:-1]:
        tokens.setdefault(chunk.index, []).extend(chunk.token_ids)
    return tokens
