"""Texts laid end to end: the same losses and gradients as padded ones, row by row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    set_seed,
)

from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED, Example
from shared.modeling.kinds.end_to_end import IMPLEMENTATION, attend_apart
from shared.modeling.kinds.writing import token_losses
from shared.modeling.loading import load_tokenizer
from shared.modeling.methods import find_method
from shared.pipelines.methods import resolve_method
from tests.support.training_runs import some_rows

CHAT = find_kind("chat")
NO_DROPOUT: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
SIZES: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED: dict[str, Any] = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "initializer_range": 0.2}
PACKABLE: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "mistral, texts longer than its window": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=6)),
    "gpt2, positions learnt": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2, **NO_DROPOUT)
    ),
}
NOT_PACKABLE: dict[str, Any] = {
    "mamba": lambda: MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4)),
    "gemma2, scores capped": lambda: Gemma2ForCausalLM(Gemma2Config(**GROUPED, head_dim=8)),
}


def _model(make: Any) -> PreTrainedModel:
    set_seed(0)
    model: PreTrainedModel = make()
    model.train()
    return model


def _examples(lengths: Sequence[int] = (9, 3, 14, 2, 9)) -> list[Example]:
    """Texts of which the second half is learnt."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for number, length in enumerate(lengths):
        ids = torch.randint(3, 64, (length,), generator=generator).tolist()
        targets = [IGNORED] * (length // 2) + ids[length // 2 :]
        made.append(Example((f"row-{number}",), ids, targets, sum(target != IGNORED for target in targets[1:])))
    return made


def _gradients(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    loss = CHAT.loss(model, batch, 0.1)
    torch.autograd.backward(loss)
    return loss.detach(), {
        name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None
    }


def _same_gradients(model: PreTrainedModel, examples: Sequence[Example]) -> None:
    padded_loss, padded = _gradients(model, CHAT.collate(examples, 0))
    assert attend_apart(model) is None
    loss, found = _gradients(model, CHAT.lay_out(examples))
    assert torch.allclose(loss, padded_loss, rtol=1e-6)
    assert found.keys() == padded.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, padded[name], rtol=1e-4, atol=1e-5 * float(padded[name].abs().max())), name


@pytest.mark.parametrize("make", PACKABLE.values(), ids=PACKABLE)
def test_loss_and_gradients_are_those_of_the_padded_batch(make: Any) -> None:
    _same_gradients(_model(make), _examples())


def test_gradients_of_an_adapter_too(decoder: Path) -> None:
    model = find_method("lora").prepare(CHAT.load(decoder, ()), "chat", resolve_method("chat", {"name": "lora"}))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    examples = CHAT.encode(load_tokenizer(decoder), some_rows("chat", 6), (), 64).examples
    _same_gradients(model, examples)


@pytest.mark.parametrize("make", PACKABLE.values(), ids=PACKABLE)
def test_every_row_has_the_loss_that_it_has_alone(make: Any) -> None:
    model, examples = _model(make), _examples()
    model.train(False)
    with torch.no_grad():
        alone = [token_losses(model, CHAT.collate([example], 0))[0] for example in examples]
        assert attend_apart(model) is None
        together = torch.split(token_losses(model, CHAT.lay_out(examples))[0], [one.weight for one in examples])
    assert [len(losses) for losses in alone] == [example.weight for example in examples]
    for found, wanted in zip(together, alone, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_row_does_not_see_its_neighbours(decoder: Path) -> None:
    model = CHAT.load(decoder, ())
    model.train(False)
    assert attend_apart(model) is None
    first, second, third = _examples((8, 8, 8))
    with torch.no_grad():
        one = token_losses(model, CHAT.lay_out([first, second]))[0]
        other = token_losses(model, CHAT.lay_out([third, second]))[0]
    assert torch.equal(one[first.weight :], other[third.weight :])


def test_batches_with_padding_are_computed_as_before(decoder: Path) -> None:
    model, batch = CHAT.load(decoder, ()), CHAT.collate(_examples(), 0)
    model.train(False)
    with torch.no_grad():
        before = token_losses(model, batch)
        assert attend_apart(model) is None
        assert torch.equal(token_losses(model, batch), before)


@pytest.mark.parametrize("make", NOT_PACKABLE.values(), ids=NOT_PACKABLE)
def test_a_model_that_would_mix_its_texts_is_left_as_it_was(make: Any) -> None:
    model = _model(make)
    config: Any = model.config
    before = config._attn_implementation
    reason = attend_apart(model)
    assert reason is not None
    assert config.model_type in reason
    assert config._attn_implementation == before != IMPLEMENTATION
    assert model.training


@pytest.mark.parametrize("architecture", PACKABLE)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_is_read_as_before_once_a_model_takes_lines(architecture: str, side: str) -> None:
    model = _model(PACKABLE[architecture]).eval()
    ids, seen = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(2)), torch.ones(2, 9).long()
    padding = slice(0, 3) if side == "left" else slice(6, 9)
    ids[1, padding], seen[1, padding] = 0, 0
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=seen).logits
        assert attend_apart(model) is None
        after = model(input_ids=ids, attention_mask=seen).logits

    torch.testing.assert_close(after[seen.bool()], before[seen.bool()])
