"""Guessing from the text's own past changes the time a text takes, never the text."""

import torch

from services.inference.engine.interface import GenerationRequest, Sampling, Stopping
from services.inference.engine.speculation import PATIENCE, Lookup
from services.inference.engine.step import Step
from services.inference.engine.torch_engine import TorchEngine
from tests.unit.inference.engine.conftest import Make, ids_of
from tests.unit.inference.engine.test_torch_engine import prompts


def test_what_followed_the_same_tokens_before_is_proposed() -> None:
    lookup = Lookup((1, 2, 3, 4, 5, 9, 1, 2, 3))
    assert lookup.propose(3) == [4, 5, 9]
    assert lookup.propose(1) == [4]
    lookup.extend((7,))
    assert lookup.propose(3) == []


def test_the_latest_place_counts_and_longer_agreement_before_shorter() -> None:
    lookup = Lookup((1, 2, 3, 8, 2, 3, 6, 1, 2, 3))
    assert lookup.propose(1) == [8]
    assert Lookup((2, 3, 8, 0, 2, 3, 6, 1, 2, 3)).propose(1) == [6]


def test_guessing_rests_when_it_does_not_pay_and_comes_back() -> None:
    lookup = Lookup((1, 2, 1, 2))
    for _ in range(20):
        lookup.judge(4, 0)
    assert lookup.propose(4) == []
    lookup.extend((1, 2) * (PATIENCE // 2))
    assert lookup.propose(4) != []


def steps(engine: TorchEngine, request: GenerationRequest) -> tuple[list[int], int]:
    """The tokens, and how often the model ran for them."""
    sound, count = engine._forward, 0

    class Counted:
        cache, vocabulary = sound.cache, sound.vocabulary

        def __call__(self, step: object) -> object:
            nonlocal count
            count += 1
            return sound(step)  # type: ignore[arg-type]

    engine._forward = Counted()  # type: ignore[assignment]
    tokens = ids_of(list(engine.submit(request)))
    engine._forward = sound
    return tokens, count


def test_tokens_are_equal_with_and_without_guesses(engine_of: Make) -> None:
    plain, guessing = engine_of(speculate=0), engine_of(speculate=5)
    stopping = Stopping(max_tokens=100, ignore_eos=True)
    fewer = 0
    for number, prompt in enumerate(prompts(8, seed=3)):
        request = GenerationRequest(f"r{number}", (prompt * 20)[:90], stopping=stopping)
        expected, before = steps(plain, request)
        found, after = steps(guessing, request)
        assert found == expected
        assert after <= before
        fewer += before - after
    assert fewer > 20, "nothing was ever guessed right: this test shows little"


def test_limits_and_ends_hold_inside_a_right_guess(engine_of: Make) -> None:
    plain, guessing = engine_of(speculate=0), engine_of(speculate=5)
    prompt = (5, 6, 7) * 12
    long = ids_of(list(plain.submit(GenerationRequest("long", prompt, stopping=Stopping(90, ignore_eos=True)))))
    for stopping in (
        Stopping(max_tokens=61, ignore_eos=True),
        Stopping(max_tokens=90, stop_token_ids=frozenset({long[50]}), ignore_eos=True),
        Stopping(max_tokens=90, min_tokens=40, stop_token_ids=frozenset(long[30:32]), ignore_eos=True),
    ):
        request = GenerationRequest("r", prompt, stopping=stopping)
        assert ids_of(list(guessing.submit(request))) == ids_of(list(plain.submit(request)))


def test_what_draws_or_looks_back_is_not_guessed(engine_of: Make) -> None:
    plain, guessing = engine_of(speculate=0), engine_of(speculate=5)
    for sampling in (Sampling(temperature=0.7, seed=1), Sampling(repetition_penalty=1.3)):
        request = GenerationRequest("r", (5, 6, 7) * 12, sampling, Stopping(60, ignore_eos=True))
        assert steps(guessing, request) == steps(plain, request)


def test_values_that_are_not_finite_behind_a_right_guess_are_computed_again(engine_of: Make) -> None:
    plain, guessing = engine_of(speculate=0), engine_of(speculate=5)
    request = GenerationRequest("r", (5, 6, 7) * 12, stopping=Stopping(max_tokens=90, ignore_eos=True))
    sound, spoiled = guessing._forward, 0

    class Spoiling:
        cache, vocabulary, memory_bytes = sound.cache, sound.vocabulary, 0

        def __call__(self, step: Step) -> torch.Tensor:
            nonlocal spoiled
            logits = sound(step)
            if len(logits) > 2:
                logits[1:] = float("nan")
                spoiled += 1
            return logits

    guessing._forward = Spoiling()
    assert ids_of(list(guessing.submit(request))) == ids_of(list(plain.submit(request)))
    assert spoiled > 0
