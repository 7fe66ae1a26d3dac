"""Packed documents and masked words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from shared.errors import InvalidArgument
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED, Example
from shared.modeling.kinds.masking import Vocabulary, fixed_generator, mask, masked_count, windows_of
from shared.modeling.kinds.packing import attention_within, packed, pieces_of, positions_of
from shared.modeling.kinds.pretraining import Pretraining, objective_of
from shared.modeling.loading import load_tokenizer
from shared.pipelines.options import Options
from tests.support.tiny_models import CORPUS

ROWS = [{"row_id": str(index), "text": " ".join([text] * (1 + index % 3))} for index, text in enumerate(CORPUS * 2)]


def _kind(objective: str = "causal", **options: Any) -> Pretraining:
    kind = find_kind("pretraining", Options.model_validate({"objective": objective, **options}))
    assert isinstance(kind, Pretraining)
    return kind


@given(st.lists(st.integers(2, 40), max_size=60), st.integers(8, 40))
def test_packing_keeps_every_piece_whole_and_no_block_too_long(lengths: list[int], length: int) -> None:
    documents = [list(range(100 * index, 100 * index + size)) for index, size in enumerate(lengths)]
    pieces = [piece for index, ids in enumerate(documents) for piece in pieces_of(str(index), ids, length)]
    blocks = packed(pieces, length)
    assert all(block.length <= length for block in blocks)
    assert sum(block.weight for block in blocks) == sum(piece.length - 1 for piece in pieces)
    found = []
    for block in blocks:
        assert block.segments is not None
        for number in range(max(block.segments) + 1):
            found.append([token for token, of in zip(block.ids, block.segments, strict=True) if of == number])
    assert sorted(found) == sorted(piece.ids for piece in pieces)
    assert sum(2 * block.length <= length for block in blocks) <= 1, "two halves would have been one block"


def test_a_piece_of_one_token_has_nothing_to_predict() -> None:
    assert [piece.length for piece in pieces_of("1", list(range(9)), 4)] == [4, 4]


def test_positions_start_anew_and_attention_stays_within() -> None:
    documents = torch.tensor([[0, 0, 1, 1, 1, -1]])
    assert positions_of(documents).tolist() == [[0, 1, 0, 1, 2, 0]]
    seen = attention_within(documents, torch.float32)[0, 0] == 0
    assert seen.tolist()[3] == [False, False, True, True, False, False]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_packed_documents_have_the_loss_of_documents_alone(decoder: Path, family: str) -> None:
    tokenizer, kind = load_tokenizer(decoder), _kind()
    model: Any = kind.load(decoder, ())
    if family == "gpt2":
        sizes: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, **sizes)
        model = GPT2LMHeadModel(config)
    model.train(False)
    pieces = list(kind.pieces(tokenizer, ROWS, 64))
    blocks = kind.encode(tokenizer, ROWS, (), 64).examples
    assert len(blocks) < len(pieces)
    alone = sum(float(kind.loss(model, kind.collate([piece], 2)).detach()) for piece in pieces)
    together = float(kind.loss(model, kind.collate(blocks, 2)).detach())
    assert together == pytest.approx(alone, rel=1e-4)
    score = kind.score(model, blocks, 2, 2)
    assert score["loss"] == pytest.approx(alone / sum(piece.weight for piece in pieces), rel=1e-4)


def test_every_document_ends_with_the_end_token(decoder: Path) -> None:
    tokenizer = load_tokenizer(decoder)
    for piece in _kind().pieces(tokenizer, ROWS, 512):
        assert piece.ids[-1] == tokenizer.eos_token_id
        assert piece.targets == [IGNORED, *piece.ids[1:]]


def test_masks_are_as_many_as_wanted_and_never_special_tokens() -> None:
    (window,) = windows_of("1", list(range(10, 50)), ([2], [3]), 64, 0.15)
    assert window.weight == 6
    vocabulary = Vocabulary(4, 100)
    for seed in range(20):
        ids, targets = mask(window, vocabulary, torch.Generator().manual_seed(seed))
        chosen = [place for place, target in enumerate(targets) if target != IGNORED]
        assert len(chosen) == 6
        assert not {0, 41} & set(chosen)
        assert [targets[place] for place in chosen] == [window.ids[place] for place in chosen]
        assert [one for place, one in enumerate(ids) if place not in chosen] == [
            one for place, one in enumerate(window.ids) if place not in chosen
        ]


def test_masks_are_eight_in_ten_mask_tokens() -> None:
    (window,) = windows_of("1", list(range(1000, 5000)), ([], []), 5000, 0.5)
    ids, targets = mask(window, Vocabulary(4, 900), torch.Generator().manual_seed(0))
    chosen = [(one, target) for one, target in zip(ids, targets, strict=True) if target != IGNORED]
    shares = {
        "mask": sum(one == 4 for one, _ in chosen) / len(chosen),
        "same": sum(one == target for one, target in chosen) / len(chosen),
    }
    assert shares == {"mask": pytest.approx(0.8, abs=0.04), "same": pytest.approx(0.1, abs=0.03)}


def test_masks_change_with_each_epoch_but_not_in_judging() -> None:
    kind = _kind("masked")
    (window,) = windows_of("1", list(range(10, 50)), ([2], [3]), 64, 0.3)
    kind._vocabulary = Vocabulary(4, 100)
    drawn = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        drawn.append(kind.collate([window], 0)["input_ids"].tolist())
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]
    state = torch.get_rng_state()
    judged = [kind.judged_batch(batch, 0)["input_ids"][0].tolist() for batch in ([window], [window, window])]
    assert judged[0] == judged[1]
    assert torch.equal(torch.get_rng_state(), state)
    other = Example(("2",), window.ids, window.targets, window.weight)
    assert fixed_generator(other).initial_seed() != fixed_generator(window).initial_seed()


def test_at_least_one_token_is_masked() -> None:
    assert [masked_count(size, 0.15) for size in (1, 3, 10, 100)] == [1, 1, 2, 15]


def test_a_tokenizer_without_a_mask_is_refused(decoder: Path) -> None:
    with pytest.raises(InvalidArgument, match="objective: causal"):
        _kind("masked").encode(load_tokenizer(decoder), ROWS, (), 64)


def test_a_base_says_what_it_can_learn(decoder: Path, encoder: Path) -> None:
    assert objective_of(decoder) == "causal"
    assert objective_of(encoder) == "masked"
