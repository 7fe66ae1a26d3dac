"""Beam search finds what transformers' own finds, and shares the engine with other requests."""

from typing import Any

import pytest
import torch

from services.inference.engine.interface import Chunk, FinishReason, GenerationRequest, Sampling, Stopping
from tests.unit.inference.engine.conftest import EOS, Make, end_of, ids_of
from tests.unit.inference.engine.tiny import tiny

PROMPTS = [(1, 2, 3), tuple(range(40)), (200,), tuple(range(250, 190, -1))]


def generate(prompt: tuple[int, ...], beams: int, **options: Any) -> tuple[list[list[int]], list[float]]:
    """transformers' sequences without the prompt and what pads them, and their scores."""
    ids = torch.tensor([prompt])
    output = tiny("llama").generate(
        ids,
        attention_mask=torch.ones_like(ids),
        num_beams=beams,
        do_sample=False,
        early_stopping=False,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    found = [row[len(prompt) :].tolist() for row in output.sequences]
    return found, output.sequences_scores.tolist()


def until_end(tokens: list[int], ends: set[int]) -> list[int]:
    at = next((at for at, token in enumerate(tokens) if token in ends), len(tokens) - 1)
    return tokens[: at + 1]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (4, 1.0), (5, 2.0), (3, -1.0), (3, 0.0)])
def test_the_best_beams_equal_those_of_generate(
    engine_of: Make, prompt: tuple[int, ...], beams: int, penalty: float
) -> None:
    ends = {EOS, 7, 99, 180, 181, 182, 183}
    expected, scores = generate(
        prompt,
        beams,
        length_penalty=penalty,
        max_new_tokens=20,
        num_return_sequences=2,
        eos_token_id=sorted(ends),
        pad_token_id=EOS,
    )
    engine = engine_of(slots=8, eos=frozenset(ends))
    sampling = Sampling(num_beams=beams, length_penalty=penalty)
    outputs = list(
        engine.submit(GenerationRequest("r", prompt, sampling=sampling, stopping=Stopping(max_tokens=20), n=2))
    )
    chunks = [output for output in outputs if isinstance(output, Chunk)]
    assert [(chunk.index, list(chunk.token_ids)) for chunk in chunks] == [
        (index, until_end(tokens, ends)) for index, tokens in enumerate(expected)
    ]
    found = [candidate.score for candidate in end_of(outputs).candidates]
    assert found == pytest.approx(scores, rel=1e-4)


def test_beams_that_never_end_stop_at_the_limit(engine_of: Make) -> None:
    expected, _ = generate((5, 6), 3, max_new_tokens=70, eos_token_id=None, pad_token_id=EOS)
    engine = engine_of(slots=4)
    stopping = Stopping(max_tokens=70, ignore_eos=True)
    outputs = list(engine.submit(GenerationRequest("r", (5, 6), sampling=Sampling(num_beams=3), stopping=stopping)))
    assert ids_of(outputs) == expected[0]
    assert end_of(outputs).reason is FinishReason.LENGTH
    assert engine._forward.cache.used == 0


def test_beams_and_other_requests_run_side_by_side(engine_of: Make) -> None:
    engine = engine_of(slots=8)
    stopping = Stopping(max_tokens=40, ignore_eos=True)
    plain = GenerationRequest("plain", (9, 8), stopping=stopping)
    wide = [
        GenerationRequest(f"wide-{n}", prompt, sampling=Sampling(num_beams=3), stopping=stopping)
        for n, prompt in enumerate(PROMPTS)
    ]
    alone = [ids_of(list(engine.submit(one))) for one in (plain, *wide)]
    streams = [engine.submit(one) for one in (plain, *wide)]
    assert [ids_of(list(stream)) for stream in streams] == alone
    assert engine._forward.cache.used == 0


def test_a_cancelled_search_sends_nothing_and_frees_its_pages(engine_of: Make) -> None:
    engine = engine_of(slots=4)
    stream = engine.submit(
        GenerationRequest("r", (1,), sampling=Sampling(num_beams=4), stopping=Stopping(200, ignore_eos=True))
    )
    engine.cancel("r")
    outputs = list(stream)
    assert end_of(outputs).reason in (FinishReason.CANCELLED, FinishReason.LENGTH)
    assert end_of(outputs).reason is FinishReason.LENGTH or ids_of(outputs) == []
    assert engine._forward.cache.used == 0
