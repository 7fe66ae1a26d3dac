"""Draws follow the distribution that the settings describe."""

from collections import Counter
from random import Random
from typing import Any

import pytest
import torch

from services.inference.engine.interface import Constraint, GenerationRequest, Sampling, Stopping
from services.inference.engine.sampling import SHORTLIST, Drawn, Row, draw, sample
from tests.unit.inference.engine.conftest import Make, chunks_of

LOGITS = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.1]))


def row(seed: int = 0, **fields: Any) -> Row:
    return Row(Sampling(**{"temperature": 1.0, **fields}), Random(seed), (), ())


def shares(one: Row, logits: torch.Tensor = LOGITS, draws: int = 4000) -> dict[int, float]:
    counts = Counter(draw(logits.expand(draws, -1), [one] * draws))
    return {token: counts[token] / draws for token in sorted(counts)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {0: 0.5, 1: 0.25, 2: 0.15, 3: 0.1}),
        ({"top_k": 2}, {0: 2 / 3, 1: 1 / 3}),
        ({"top_p": 0.7}, {0: 2 / 3, 1: 1 / 3}),
        ({"top_k": 3, "top_p": 0.8}, {0: 2 / 3, 1: 1 / 3}),
        ({"min_p": 0.25}, {0: 5 / 9, 1: 2.5 / 9, 2: 1.5 / 9}),
        ({"top_p": 0.01}, {0: 1.0}),
        ({"temperature": 0.5}, {0: 0.725, 1: 0.181, 2: 0.065, 3: 0.029}),
    ],
)
def test_shares_of_many_draws(fields: dict[str, Any], expected: dict[int, float]) -> None:
    seen = shares(row(**fields))
    assert seen.keys() == expected.keys()
    for token, share in expected.items():
        assert seen[token] == pytest.approx(share, abs=0.03)


def test_a_nucleus_wider_than_the_shortlist_is_exact() -> None:
    vocabulary = 60 * SHORTLIST
    seen = Counter(draw(torch.zeros(2000, vocabulary), [row(0, top_p=0.9)] * 2000))
    assert len(seen) > 20 * SHORTLIST


def test_temperature_zero_takes_the_likeliest_of_every_row() -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(0)])
    assert sample(logits, [row(temperature=0), row(temperature=0)]) == [Drawn(0), Drawn(3)]


def test_a_row_that_is_not_finite_gives_none_and_spares_the_others() -> None:
    logits = torch.stack([LOGITS, torch.full((4,), float("nan"))])
    assert sample(logits, [row(temperature=0), row(temperature=0)]) == [Drawn(0), None]


def test_forbidden_tokens_are_never_drawn() -> None:
    one = Row(Sampling(temperature=1.0), Random(0), (), (), forbidden=(0, 1))
    assert {sample(LOGITS.clone()[None], [one])[0] for _ in range(200)} == {Drawn(2), Drawn(3)}


def test_the_repetition_penalty_counts_prompt_and_answer_once_each() -> None:
    one = Row(Sampling(repetition_penalty=2.0), Random(0), (0, 0), (1,))
    logits = torch.tensor([[4.0, 3.0, 2.5, -1.0]])
    assert sample(logits, [one]) == [Drawn(2)]
    assert logits[0].tolist() == [2.0, 1.5, 2.5, -1.0]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0, seed=1),
        Sampling(temperature=1.5, top_p=0.95, seed=2),
        Sampling(temperature=0.8, min_p=0.02, presence_penalty=0.7, frequency_penalty=0.3, seed=3),
        Sampling(temperature=2.0, top_k=100, repetition_penalty=1.3, logit_bias={65: 4.0, 66: -50.0}, seed=4),
    ],
)
def test_a_seed_gives_the_same_tokens_in_changing_company(engine_of: Make, sampling: Sampling) -> None:
    """Alone, and beside greedy, drawn, constrained and ending requests, all of several answers."""
    engine = engine_of()

    def answers(name: str) -> dict[int, list[int]]:
        stopping = Stopping(max_tokens=30, ignore_eos=True)
        mine = GenerationRequest(name, (9, 8, 7), sampling, stopping, n=2, logprobs=1)
        made: dict[int, list[int]] = {}
        for chunk in chunks_of(list(engine.submit(mine))):
            made.setdefault(chunk.index, []).extend(chunk.token_ids)
        return made

    alone = answers("alone")
    others = [
        GenerationRequest("greedy", (1, 2), stopping=Stopping(max_tokens=20)),
        GenerationRequest("short", (4,), Sampling(temperature=3.0, top_k=5), Stopping(max_tokens=4, ignore_eos=True)),
        GenerationRequest("digits", (5,), stopping=Stopping(max_tokens=20), constraint=Constraint(regex="[0-9]{9}")),
    ]
    streams = [engine.submit(other) for other in others]
    assert answers("together") == alone
    assert alone[0] != alone[1]
    for stream in streams:
        list(stream)
