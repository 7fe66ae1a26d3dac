"""Encoding, loss and metrics of the task kinds."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from shared.errors import InvalidArgument
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED, Example, by_length, length_limit, mask_of, pad
from shared.modeling.kinds.classification import macro_f1
from shared.modeling.loading import load_tokenizer

LABELS = ("bad", "good")


def _chat(row_id: str, ask: str, answer: str) -> dict[str, Any]:
    return {
        "row_id": row_id,
        "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}],
    }


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="known: classification, "):
        find_kind("juggling")


def test_long_text_is_cut_on_the_right_and_counted(encoder: Path) -> None:
    tokenizer = load_tokenizer(encoder)
    rows = [{"row_id": "1", "text": "good film " * 20, "label": "good"}, {"row_id": "2", "text": "bad", "label": "bad"}]
    encoded = find_kind("classification").encode(tokenizer, rows, LABELS, 8)
    assert encoded.truncated == 1
    assert [len(example.ids) for example in encoded.examples] == [8, 3]
    assert encoded.examples[0].ids[-1] == encoded.examples[1].ids[-1]
    assert [example.targets for example in encoded.examples] == [[1], [0]]


def test_long_conversation_is_cut_on_the_left_and_counted(decoder: Path) -> None:
    tokenizer = load_tokenizer(decoder)
    row = _chat("1", "what " * 30, "ten")
    whole = find_kind("chat").encode(tokenizer, [row], (), 500).examples[0]
    encoded = find_kind("chat").encode(tokenizer, [row], (), 12)
    assert encoded.truncated == 1
    assert encoded.examples[0].ids == whole.ids[-12:]
    assert encoded.examples[0].weight == whole.weight


def test_chat_loss_is_that_of_plain_cross_entropy(decoder: Path) -> None:
    tokenizer, kind = load_tokenizer(decoder), find_kind("chat")
    rows = [_chat("1", "what is the price?", "ten coins for one"), _chat("2", "open?", "push")]
    examples = kind.encode(tokenizer, rows, (), 500).examples
    model: Any = kind.load(decoder, ()).train(False)
    expected = 0.0
    for example in examples:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0].detach()
        targets = torch.tensor(example.targets)
        expected += float(functional.cross_entropy(logits[:-1], targets[1:], ignore_index=IGNORED, reduction="sum"))
    loss = float(kind.loss(model, kind.collate(examples, int(tokenizer.pad_token_id))).detach())
    assert loss == pytest.approx(expected, rel=1e-5)
    score = kind.score(model, examples, int(tokenizer.pad_token_id), 8)
    assert score["loss"] == pytest.approx(expected / sum(example.weight for example in examples), rel=1e-5)
    assert score["perplexity"] == pytest.approx(math.exp(score["loss"]))


def test_padding_does_not_change_a_classification(encoder: Path) -> None:
    tokenizer, kind = load_tokenizer(encoder), find_kind("classification")
    rows = [{"row_id": str(index), "text": text, "label": "bad"} for index, text in enumerate(["bad", "a good film"])]
    examples = kind.encode(tokenizer, rows, LABELS, 64).examples
    model: Any = kind.load(encoder, LABELS).train(False)
    together = float(kind.loss(model, kind.collate(examples, int(tokenizer.pad_token_id))).detach())
    alone = sum(float(kind.loss(model, kind.collate([example], 0)).detach()) for example in examples)
    assert together == pytest.approx(alone, rel=1e-5)


def test_classification_needs_two_labels(encoder: Path) -> None:
    with pytest.raises(InvalidArgument, match="two labels"):
        find_kind("classification").load(encoder, ("only",))


def test_encoder_is_no_causal_model(encoder: Path) -> None:
    with pytest.raises((InvalidArgument, ValueError)):
        find_kind("chat").load(encoder, ())


def test_macro_f1_is_the_mean_over_labels() -> None:
    truth, guess = (functional.one_hot(torch.tensor(one), 3).bool() for one in ([0, 0, 1, 1], [0, 1, 1, 1]))
    assert macro_f1(truth, guess) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_padding_goes_to_the_side_asked_for() -> None:
    assert pad([[1, 2], [3]], 9).tolist() == [[1, 2], [3, 9]]
    assert pad([[1, 2], [3]], 9, left=True).tolist() == [[1, 2], [9, 3]]
    assert mask_of([[2, 2], [2]], left=True).tolist() == [[1, 1], [0, 1]]


def test_collated_targets_never_learn_padding(decoder: Path) -> None:
    examples = [Example(("1",), [5, 2], [IGNORED, 2], 1), Example(("2",), [5, 6, 7, 2], [IGNORED, 6, 7, 2], 3)]
    batch = find_kind("chat").collate(examples, 2)
    assert batch["targets"].tolist()[0] == [IGNORED, 2, IGNORED, IGNORED]


def test_batches_by_length_hold_every_index_once() -> None:
    batches = by_length([3, 9, 1, 7, 5], 2)
    assert batches == [[1, 3], [4, 0], [2]]


def test_length_limit_is_within_the_positions_of_the_model(encoder: Path) -> None:
    model = find_kind("classification").load(encoder, LABELS)
    assert length_limit(model, load_tokenizer(encoder), 1000) == 64
    assert length_limit(model, load_tokenizer(encoder), 10) == 10
