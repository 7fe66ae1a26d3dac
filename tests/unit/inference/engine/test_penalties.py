"""Logits change, and tokens are chosen, as a plain reading of the definitions says."""

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engine.interface import Sampling
from services.inference.engine.penalties import Row, adjust_all, check_tokens
from services.inference.engine.sampling import draw, sample
from services.inference.engine.selecting import top
from shared.errors import InvalidArgument

VOCABULARY = 12
tokens = st.lists(st.integers(0, VOCABULARY - 1), max_size=8)
numbers = st.floats(-5, 5, width=32)


@st.composite
def rows(draw_from: Any) -> tuple[list[float], Row]:
    logits = draw_from(st.lists(numbers, min_size=VOCABULARY, max_size=VOCABULARY))
    sampling = Sampling(
        repetition_penalty=draw_from(st.sampled_from([1.0, 0.7, 1.5])),
        presence_penalty=draw_from(st.sampled_from([0.0, -0.5, 1.0])),
        frequency_penalty=draw_from(st.sampled_from([0.0, 0.25, -1.0])),
        logit_bias=draw_from(st.dictionaries(st.integers(0, VOCABULARY - 1), numbers, max_size=4)),
    )
    forbidden = draw_from(st.lists(st.integers(0, VOCABULARY - 1), max_size=3))
    return logits, Row(sampling, Random(0), draw_from(tokens), draw_from(tokens), forbidden)


def plainly(logits: list[float], row: Row) -> list[float]:
    """Repetition over prompt and answer, then presence and frequency over the answer, bias, and what is forbidden."""
    made = list(logits)
    sampling, counts = row.sampling, Counter(row.generated)
    for token in {*row.prompt, *row.generated}:
        penalty = sampling.repetition_penalty
        made[token] = made[token] * penalty if made[token] < 0 else made[token] / penalty
    for token, count in counts.items():
        made[token] -= sampling.presence_penalty + count * sampling.frequency_penalty
    for token, bias in sampling.logit_bias.items():
        made[token] += bias
    for token in row.forbidden:
        made[token] = -math.inf
    return made


@given(batch=st.lists(rows(), min_size=1, max_size=4))
def test_every_row_of_a_batch_is_adjusted_as_the_definitions_say(batch: list[tuple[list[float], Row]]) -> None:
    logits = torch.tensor([values for values, _ in batch])
    adjust_all(logits, [row for _, row in batch])
    for made, (values, row) in zip(logits.tolist(), batch, strict=True):
        assert made == pytest.approx(plainly(values, row), abs=1e-4)


def test_a_row_that_was_made_before_its_tokens_sees_them_grow() -> None:
    generated: list[int] = []
    row = Row(Sampling(presence_penalty=2.0), Random(0), (0,), generated)
    logits = torch.tensor([[0.0, 3.0, 2.0]])
    first = sample(logits.clone(), [row])[0]
    assert first is not None
    generated.append(first.token)
    second = sample(logits.clone(), [row])[0]
    assert second is not None
    assert (first.token, second.token) == (1, 2)


def kept_plainly(probabilities: list[float], sampling: Sampling) -> set[int]:
    """Tokens that top-k, then top-p (of what top-k left), then min-p keep."""
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    order = order[: sampling.top_k or None]
    total = sum(probabilities[token] for token in order) if sampling.top_k else 1.0
    kept, mass = [], 0.0
    for token in order:
        if sampling.top_p < 1 and mass >= sampling.top_p * total:
            break
        kept.append(token)
        mass += probabilities[token]
    return {token for token in kept if probabilities[token] >= sampling.min_p * probabilities[order[0]]}


@pytest.mark.parametrize("vocabulary", [5, 40, 700, 9001])
@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 3},
        {"top_k": 200},
        {"top_p": 0.4},
        {"top_p": 0.999},
        {"min_p": 0.1},
        {"min_p": 1e-4},
        {"top_k": 100, "top_p": 0.8, "min_p": 0.01},
        {"top_p": 0.95, "min_p": 0.001},
    ],
)
def test_draws_are_spread_over_exactly_the_tokens_that_the_filters_keep(
    vocabulary: int, fields: dict[str, Any]
) -> None:
    logits = 2.5 * torch.randn(vocabulary, generator=torch.Generator().manual_seed(vocabulary))
    sampling = Sampling(temperature=0.9, **fields)
    probabilities = torch.softmax(logits.double() / 0.9, dim=-1)
    kept = kept_plainly(probabilities.tolist(), sampling)
    points = [position / 400 for position in range(400)]
    seen = draw(logits.expand(400, -1).contiguous(), [Row(sampling, Scripted(point), (), ()) for point in points])
    border = {token for token in set(seen) - kept if probabilities[token] < 1e-3}  # a cut within rounding
    assert set(seen) - border <= kept
    mass = sum(float(probabilities[token]) for token in kept)
    for token in kept:
        assert seen.count(token) / 400 == pytest.approx(float(probabilities[token]) / mass, abs=0.006)


class Scripted(Random):
    """Gives one number, whatever is asked."""

    def __init__(self, point: float) -> None:
        super().__init__(0)
        self._point = point

    def random(self) -> float:
        return self._point


@pytest.mark.parametrize("point", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("fields", [{}, {"top_k": 50}, {"top_p": 0.99}, {"temperature": 1e-30}, {"temperature": 100}])
def test_a_token_without_probability_is_never_drawn(point: float, fields: dict[str, Any]) -> None:
    """Not even by the largest number that a generator gives."""
    logits = torch.full((1, 300), -math.inf)
    logits[0, [7, 150]] = torch.tensor([1.0, 0.5])
    sampling = Sampling(**{"temperature": 1.0, **fields})
    assert draw(logits, [Row(sampling, Scripted(point), (), ())])[0] in (7, 150)


def test_a_row_draws_the_same_whatever_stands_beside_it() -> None:
    numbers = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(8, 5000, generator=numbers)
    kinds: list[dict[str, Any]] = [
        {},
        {"top_k": 40},
        {"top_p": 0.9},
        {"min_p": 0.02},
        {"top_k": 300, "top_p": 0.7},
        {"top_p": 0.9999},
    ]
    rows = [Sampling(temperature=1.2, **kinds[at % len(kinds)]) for at in range(8)]

    def drawn(places: list[int]) -> list[int]:
        return draw(logits[places], [Row(rows[at], Random(at), (), ()) for at in places])

    together = drawn(list(range(8)))
    assert [drawn([at])[0] for at in range(8)] == together
    assert drawn([5, 2, 7]) == [together[at] for at in (5, 2, 7)]


@pytest.mark.parametrize(("columns", "count"), [(10, 20), (300, 5), (5003, 20), (4096, 64), (33, 1)])
def test_the_largest_are_found_with_their_columns(columns: int, count: int) -> None:
    values = torch.randn(3, columns, generator=torch.Generator().manual_seed(columns))
    found, ids = top(values, count)
    expected, places = values.topk(min(count, columns))
    assert torch.equal(found, expected)
    assert torch.equal(ids, places)


@pytest.mark.parametrize("token", [-1, VOCABULARY])
def test_a_token_that_the_model_does_not_have_is_refused_by_name(token: int) -> None:
    with pytest.raises(InvalidArgument, match=f"stopping.stop_token_ids has token id {token}"):
        check_tokens("stopping.stop_token_ids", [0, token], VOCABULARY)
