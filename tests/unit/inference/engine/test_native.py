"""The native decode step against transformers in float32."""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from services.inference.engine.adapters import Adapter, LowRank
from services.inference.engine.native import library
from services.inference.engine.native.forward import NativeLlamaForward
from services.inference.engine.step import Segment
from tests.unit.inference.engine.native_models import FAMILIES, answer, model, root_mean_square, tokens, truth

pytestmark = pytest.mark.skipif(library.why_not() is not None, reason=str(library.why_not()))
KINDS = pytest.mark.parametrize("int8", [False, True], ids=["bfloat16", "int8"])
INT8_ERROR = 0.05  # of the logits' spread; random weights are the worst case for rounding to 8 bits


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@KINDS
@pytest.mark.parametrize("vocabulary", [1, 31, 32, 33, 300])
@pytest.mark.parametrize("rows", [1, 2, 4, 5, 13, 14, 15, 29, 64])
def test_a_product_of_any_shape_is_right(rows: int, vocabulary: int, int8: bool) -> None:
    """Without layers a step is the embedding, a norm and one product."""
    bare = model(num_hidden_layers=0, vocab_size=vocabulary, tie_word_embeddings=False)
    ids = [token % vocabulary for token in tokens(rows)]
    expected = truth(copy.deepcopy(bare), ids)
    forward = NativeLlamaForward(bare, 4, 128, int8=int8)
    found = answer(forward, Segment([3, 1], 0, ids, rows))
    assert found.shape == (rows, vocabulary)
    torch.testing.assert_close(found, expected, atol=0.04 if int8 else 0.02, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_closer_to_float32_than_its_own_bfloat16(family: str) -> None:
    ids = tokens(150)
    expected = truth(model(family), ids)
    with torch.no_grad():
        usual = model(family)(torch.tensor([ids])).logits[0].float()
    forward = NativeLlamaForward(model(family), 40, 512)
    pages = [7, 3, 20, 11, 5]
    parts = [answer(forward, Segment(pages, 0, ids[:70], 70)), answer(forward, Segment(pages, 70, ids[70:100], 30))]
    parts += [answer(forward, Segment(pages, at, ids[at : at + 1], 1)) for at in range(100, 150)]
    found = torch.cat(parts)
    assert root_mean_square(found - expected) < root_mean_square(usual - expected)
    for part in (slice(0, 70), slice(70, 100), slice(100, 150)):  # no part hides behind the others
        assert root_mean_square((found - expected)[part]) < 1.2 * root_mean_square((usual - expected)[part])


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_weights_stay_close(family: str) -> None:
    ids = tokens(100)
    expected = truth(model(family), ids)
    found = answer(NativeLlamaForward(model(family), 8, 256, int8=True), Segment([5, 2, 7, 1], 0, ids, 100))
    assert root_mean_square(found - expected) < INT8_ERROR * float(expected.std())


@KINDS
def test_a_request_answers_the_same_alone_and_in_any_company(int8: bool) -> None:
    forward = NativeLlamaForward(model(), 64, 256, int8=int8)
    prompts = {index: tokens(5 + 9 * index, seed=index) for index in range(9)}
    free = list(range(64))
    random.Random(0).shuffle(free)
    tables = {index: [free.pop() for _ in range(4)] for index in prompts}
    alone = {}
    for index, ids in prompts.items():
        answer(forward, Segment(tables[index], 0, ids[:-1], 0))
        alone[index] = answer(forward, Segment(tables[index], len(ids) - 1, ids[-1:], 1))
    segments = [Segment(tables[index], len(ids) - 1, ids[-1:], 1) for index, ids in prompts.items()]
    long = Segment([free.pop() for _ in range(3)], 0, tokens(77, seed=99), 1)
    assert torch.equal(answer(forward, *segments), torch.cat(list(alone.values())))
    assert torch.equal(answer(forward, long, *segments)[1:], torch.cat(list(alone.values())))


@KINDS
def test_threads_change_nothing(int8: bool) -> None:
    forward = NativeLlamaForward(model(), 8, 256, int8=int8)
    segment = Segment([1, 6, 2], 0, tokens(70), 70)
    two = answer(forward, segment)
    torch.set_num_threads(1)
    assert torch.equal(answer(forward, segment), two)
    torch.set_num_threads(3)  # more than there may be processors: some come late, and others take over from them
    assert all(torch.equal(answer(forward, segment), two) for _ in range(20))


def test_a_long_context_cut_among_threads_is_joined_again() -> None:
    ids = tokens(1500)
    expected = truth(model(), ids)[-1]
    forward = NativeLlamaForward(model(), 50, 1600)
    pages = list(range(49, 1, -1))
    for start in range(0, 1499, 500):
        answer(forward, Segment(pages, start, ids[start : min(start + 500, 1499)], 0))
    found = answer(forward, Segment(pages, 1499, ids[1499:], 1))[0]
    assert root_mean_square(found - expected) < 0.02 * float(expected.std())


def test_a_page_shared_by_two_requests_is_read_by_both() -> None:
    forward = NativeLlamaForward(model(), 8, 256)
    shared, ends = tokens(32), (tokens(7, seed=5), tokens(9, seed=6))
    answer(forward, Segment([4], 0, shared, 0))
    found = answer(forward, *(Segment([4, 5 + at], 32, end, 1) for at, end in enumerate(ends)))
    for row, end in zip(found, ends, strict=True):
        expected = truth(model(), shared + end)[-1]
        assert root_mean_square(row - expected) < 0.02 * float(expected.std())


def adapter(name: str, rank: int, targets: dict[str, tuple[int, int]], seed: int) -> Adapter:
    drawn = torch.Generator().manual_seed(seed)
    modules = {}
    for layer in range(2):
        for target, (outputs, inputs) in targets.items():
            a, b = torch.randn(rank, inputs, generator=drawn) * 0.1, torch.randn(outputs, rank, generator=drawn) * 0.1
            modules[f"model.layers.{layer}.{target}"] = LowRank(a.to(torch.bfloat16), b.to(torch.bfloat16))
    return Adapter(name, modules)


def merged(base: Any, extra: Adapter | None) -> Any:
    whole = base.float()
    for name, part in {} if extra is None else extra.modules.items():
        whole.get_submodule(name).weight.data += part.b.float() @ part.a.float()
    return whole


SHAPES = {
    "self_attn.q_proj": (192, 96),
    "self_attn.k_proj": (64, 96),
    "self_attn.v_proj": (64, 96),
    "self_attn.o_proj": (96, 192),
    "mlp.gate_proj": (208, 96),
    "mlp.up_proj": (208, 96),
    "mlp.down_proj": (96, 208),
}


@KINDS
def test_many_adapters_and_none_share_a_step(int8: bool) -> None:
    everything = adapter("everything", 16, SHAPES, seed=1)
    some = adapter("some", 5, {name: SHAPES[name] for name in ("self_attn.q_proj", "self_attn.v_proj")}, seed=2)
    half = adapter("half", 40, {name: SHAPES[name] for name in ("mlp.up_proj", "mlp.down_proj")}, seed=3)
    users = [everything, None, some, half, everything, None, some]
    forward = NativeLlamaForward(model(), 40, 128, int8=int8)
    prompts = [tokens(20 + 3 * index, seed=index) for index in range(len(users))]
    tables = [[2 * index, 2 * index + 1] for index in range(len(users))]
    for at, (user, ids) in enumerate(zip(users, prompts, strict=True)):
        answer(forward, Segment(tables[at], 0, ids[:-1], 0, user))
    segments = [
        Segment(table, len(ids) - 1, ids[-1:], 1, user) for table, ids, user in zip(tables, prompts, users, strict=True)
    ]
    together = answer(forward, *segments)
    for row, ids, user in zip(together, prompts, users, strict=True):
        expected = truth(merged(model(), user), ids)[-1]
        assert root_mean_square(row - expected) < (INT8_ERROR if int8 else 0.02) * float(expected.std())
        if user is not None:
            plain = truth(model(), ids)[-1]
            assert root_mean_square(row - plain) > 0.1 * float(plain.std())
    alone = torch.cat([answer(forward, segment) for segment in segments])
    assert torch.equal(together, alone)


@KINDS
def test_rows_that_nobody_wants_change_nothing(int8: bool) -> None:
    """They leave after the last layer's keys are written, wherever in the step they stand, with their adapters."""
    some, other = adapter("some", 16, SHAPES, seed=1), adapter("other", 8, SHAPES, seed=2)
    users, counts, wanted = (some, None, other, some, None), (30, 9, 17, 1, 40), (2, 0, 17, 1, 1)
    forward = NativeLlamaForward(model(), 20, 128, int8=int8)
    segments = [
        Segment([2 * index, 2 * index + 1], 0, tokens(count, seed=index), wants, user)
        for index, (user, count, wants) in enumerate(zip(users, counts, wanted, strict=True))
    ]
    together = answer(forward, *segments)
    whole = [answer(forward, replace(one, wanted=len(one.tokens)))[len(one.tokens) - one.wanted :] for one in segments]
    assert torch.equal(together, torch.cat(whole))


@KINDS
def test_a_broken_row_is_seen_and_hurts_no_other(int8: bool) -> None:
    sick = model(tie_word_embeddings=False)
    sick.get_input_embeddings().weight.data[7] = torch.nan
    forward = NativeLlamaForward(sick, 8, 128, int8=int8)
    found = answer(forward, Segment([0], 0, [1, 2, 3], 1), Segment([1], 0, [1, 7, 3], 1), Segment([2], 0, [4], 1))
    assert found.isfinite().all(dim=1).tolist() == [True, False, True]


def test_a_step_that_wants_nothing_gives_nothing() -> None:
    forward = NativeLlamaForward(model(), 8, 128)
    assert answer(forward, Segment([0, 1], 0, tokens(40), 0)).shape == (0, 301)


@pytest.mark.parametrize(
    ("segment", "why"),
    [
        (Segment([0], 0, [301], 1), "a token beyond the vocabulary"),
        (Segment([0], 0, [-1], 1), "a negative token"),
        (Segment([8], 0, [1], 1), "a page beyond the cache"),
        (Segment([-1], 0, [1], 1), "a negative page"),
        (Segment([0], -1, [1, 2], 1), "a negative position"),
        (Segment([0], 0, [1], 2), "more logits than tokens"),
        (Segment([0], 0, [], 0), "no token"),
        (Segment([0], 31, [1, 2], 1), "a page too few"),
    ],
)
def test_odd_input_stops_before_the_native_code(segment: Segment, why: str) -> None:
    forward = NativeLlamaForward(model(), 8, 128)
    with pytest.raises(AssertionError):
        answer(forward, segment)


def test_weights_are_held_once() -> None:
    taken = model("qwen3")
    weights = sum(parameter.numel() for parameter in taken.parameters())
    forward = NativeLlamaForward(taken, 8, 128)
    rotation = 2 * 128 * 16 * 4
    assert 2 * weights < forward.memory_bytes - rotation < 2.1 * weights  # padding and float32 norms come on top
    assert sum(parameter.numel() for parameter in taken.parameters()) < 2_000  # norms only


@pytest.mark.parametrize(
    "changes",
    [
        {"head_dim": 48},
        {"hidden_size": 108},
        {"intermediate_size": 100},
        {"hidden_act": "gelu"},
        {"mlp_bias": True},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
    ],
)
def test_what_it_cannot_compute_is_left_to_others(changes: dict[str, Any]) -> None:
    assert NativeLlamaForward.fits(model(), 128)
    assert not NativeLlamaForward.fits(model(**changes), 128)


def test_float32_is_left_to_others() -> None:
    assert not NativeLlamaForward.fits(model().float(), 128)
