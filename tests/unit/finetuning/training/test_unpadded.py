"""Layers without padding give what padded ones give: losses, gradients, scores."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ElectraConfig, ElectraForSequenceClassification

from services.finetuning.training.model.attention import SHORT_TOKENS, plain_short_attention
from services.finetuning.training.model.dropout import set_dropout
from services.finetuning.training.model.recomputing import recompute_layers
from services.finetuning.training.model.unpadded import IMPLEMENTATION, STEP, Layout, drop_padding
from tests.support.tiny_encoders import LENGTH, sizes, tiny_bert, tiny_classifier
from tests.support.training_runs import make_spec, run, some_rows

FINE = {torch.float32: 1e-5, torch.bfloat16: 0.05}
"""Of a tensor's size."""
LENGTHS = {
    "as they come": (5, 1, 12, 7),
    "one text": (9,),
    "alike": (8, 8, 8),
    "one long": (LENGTH, 2, 3, 1, 1),
    "many": tuple(range(1, 33)),
}


def _batch(lengths: tuple[int, ...], left: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(lengths))
    width = max(lengths)
    ids, seen = torch.zeros(len(lengths), width, dtype=torch.long), torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        places = slice(width - length, width) if left else slice(length)
        ids[row, places] = torch.randint(5, 60, (length,), generator=generator)
        seen[row, places] = 1
    return {"input_ids": ids, "attention_mask": seen}


def _outcome(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of real tokens only."""
    model.zero_grad()
    made = model(**batch).logits.float()
    if made.ndim == 3:
        made = made[batch["attention_mask"].bool()]
    torch.autograd.backward(torch.sin(made).sum())
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {"": made.detach()} | {name: value.float().clone() for name, value in found.items()}


def _alike(found: dict[str, Tensor], expected: dict[str, Tensor], precision: torch.dtype) -> None:
    assert found.keys() == expected.keys()
    size = max(float(value.norm()) for name, value in expected.items() if name)
    for name, value in expected.items():
        # A bias of the keys moves all scores of a query alike: its gradient is nothing but rounding.
        whole = float(value.norm()) if not name else max(float(value.norm()), 0.05 * size)
        assert float((found[name] - value).norm()) <= FINE[precision] * whole, name


@pytest.mark.parametrize("precision", FINE)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("kind", ["classification", "token_classification"])
def test_outputs_and_gradients_are_those_of_padded_texts(kind: str, lengths: str, precision: torch.dtype) -> None:
    model, _ = tiny_bert(kind)
    model.to(precision)
    model.set_attn_implementation("eager")
    batch = _batch(LENGTHS[lengths])
    expected = _outcome(model, batch)
    assert drop_padding(model)
    assert model.config._attn_implementation == IMPLEMENTATION
    _alike(_outcome(model, batch), expected, precision)


def test_other_families() -> None:
    config: dict[str, Any] = {**sizes(), "embedding_size": 16, "num_labels": 3}
    for model in (tiny_classifier("roberta"), ElectraForSequenceClassification(ElectraConfig(**config)).eval()):
        model.set_attn_implementation("eager")
        batch = _batch((5, 1, 12, 7))
        expected = _outcome(model, batch)
        assert drop_padding(model)
        _alike(_outcome(model, batch), expected, torch.float32)


def test_padding_on_the_left() -> None:
    model, _ = tiny_bert("token_classification")
    model.set_attn_implementation("eager")
    batch = _batch((5, 1, 12, 7), left=True)
    expected = _outcome(model, batch)
    assert drop_padding(model)
    _alike(_outcome(model, batch), expected, torch.float32)


def test_without_a_mask_all_tokens_are_real() -> None:
    model, _ = tiny_bert("classification")
    ids = _batch((8, 8))["input_ids"]
    expected = model(input_ids=ids).logits
    assert drop_padding(model)
    torch.testing.assert_close(model(input_ids=ids).logits, expected)


def test_layers_see_hardly_any_padding() -> None:
    model, _ = tiny_bert("classification")
    assert drop_padding(model)
    seen: list[int] = []
    model.bert.encoder.layer[1].register_forward_pre_hook(lambda layer, given: seen.append(given[0].shape[1]))
    batch = _batch(LENGTHS["one long"] + (1,) * 40)
    model(**batch)
    real = int(batch["attention_mask"].sum())
    assert seen == [-(-real // STEP) * STEP]
    assert seen[0] < batch["input_ids"].numel() / 10


def test_layers_computed_twice_give_the_same_gradients() -> None:
    model, _ = tiny_bert("classification")
    assert drop_padding(model)
    set_dropout(model, 0.0)
    model.train()
    batch = _batch((5, 1, 12, 7))
    once = _outcome(model, batch)
    recompute_layers(model)
    twice = _outcome(model, batch)
    assert once.keys() == twice.keys()
    assert all(torch.equal(value, twice[name]) for name, value in once.items())


def test_models_whose_layers_are_not_known_stay_as_they_are() -> None:
    model = tiny_classifier("distilbert")
    before = model.config._attn_implementation
    assert not drop_padding(model)
    assert model.config._attn_implementation == before


@pytest.mark.parametrize(
    ("longest", "virtual", "chosen"),
    [(64, False, IMPLEMENTATION), (64, True, "eager"), (SHORT_TOKENS + 1, False, "sdpa")],
)
def test_it_is_for_short_texts_without_virtual_tokens(longest: int, virtual: bool, chosen: str) -> None:
    model, _ = tiny_bert("classification")
    plain_short_attention(model, longest, virtual)
    assert model.config._attn_implementation == chosen


def test_a_line_goes_back_to_where_it_came_from() -> None:
    real = torch.rand(4, 11, generator=torch.Generator().manual_seed(0)) < 0.5
    layout = Layout(real)
    padded = torch.arange(44 * 3.0).view(4, 11, 3)
    back = layout.padded(layout.line(padded))
    assert torch.equal(back[real], padded[real])
    assert layout.line(padded).shape == (1, min(44, -(-int(real.sum()) // STEP) * STEP), 3)


def test_a_trained_model_says_nothing_of_it(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 8), {"max_length": 32})
    assert run(spec)[0] == 0
    assert IMPLEMENTATION not in (spec.output_dir / "config.json").read_text(encoding="utf-8")
