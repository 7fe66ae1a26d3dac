"""Every family gives, in a crowd and with prompts in chunks, the tokens of `generate`; what can't is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, Llama4ForCausalLM, Llama4TextConfig, MambaConfig
from transformers import MambaForCausalLM as Mamba

from services.inference.engine.forward import TransformersForward
from services.inference.engine.interface import GenerationRequest, Stopping
from services.inference.engine.llama import LlamaForward
from services.inference.engine.step import Segment, Step
from shared.errors import FailedPrecondition
from tests.unit.inference.engine.conftest import EOS, Make, ids_of
from tests.unit.inference.engine.tiny import FAMILIES, SIZES, tiny

PROMPTS = [tuple((7 * at * at + 11 * n) % 256 for at in range(length)) for n, length in enumerate((1, 5, 40, 75))]
LEAN = ["llama", "llama-yarn", "qwen2", "qwen2-windows", "qwen3", "mistral"]


def generated(model: Any, prompt: tuple[int, ...], tokens: int) -> list[int]:
    """What transformers' own generate gives, greedily."""
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)
    out = model.generate(ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=EOS)
    found: list[int] = out[0, len(prompt) :].tolist()
    return found


def logits_in_pieces(forward: Any, ids: list[int], pieces: tuple[int, ...]) -> torch.Tensor:
    """Logits of every token, computed over a page table out of order."""
    seen, at = [], 0
    with torch.inference_mode():
        for count in pieces:
            step = Step([Segment([3, 5, 1], at, ids[at : at + count], count)], forward.cache)
            seen.append(forward(step))
            at += count
    return torch.cat(seen)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_equal_those_of_generate(engine_of: Make, family: str) -> None:
    reference = tiny(family)
    expected = [generated(reference, prompt, 16) for prompt in PROMPTS]
    engine = engine_of(family)
    stopping = Stopping(max_tokens=16)
    streams = [engine.submit(GenerationRequest(str(n), one, stopping=stopping)) for n, one in enumerate(PROMPTS)]
    assert [ids_of(list(stream)) for stream in streams] == expected
    assert len({tuple(ids) for ids in expected}) > 2, "the model repeats itself: this test shows nothing"


@pytest.mark.parametrize("family", LEAN)
def test_the_lean_pass_gives_the_logits_of_the_models_own_modules(family: str) -> None:
    ids = [(5 * at * at) % 256 for at in range(60)]
    with torch.inference_mode():
        expected = tiny(family)(torch.tensor([ids])).logits[0]
    model = tiny(family)
    assert LlamaForward.fits(model)
    forward = LlamaForward(model, 8, 128)
    torch.testing.assert_close(logits_in_pieces(forward, ids, (20, 1, 1, 30, 8)), expected, atol=1e-4, rtol=1e-4)


def test_the_lean_pass_leaves_other_families_to_the_models_own_modules() -> None:
    assert {family for family in FAMILIES if LlamaForward.fits(tiny(family))} == set(LEAN)


def test_a_window_is_seen_in_the_tokens(engine_of: Make) -> None:
    """The same weights without a window go on differently, so the comparison with `generate` shows something."""
    wide = tiny("mistral")
    wide.config.sliding_window = None
    assert generated(wide, PROMPTS[3], 16) != generated(tiny("mistral"), PROMPTS[3], 16)


REFUSED: dict[str, Callable[[], Any]] = {
    "bloom": lambda: BloomForCausalLM(BloomConfig(hidden_size=48, n_layer=2, n_head=6, vocab_size=258)),
    "mamba": lambda: Mamba(MambaConfig(hidden_size=48, num_hidden_layers=2, vocab_size=258)),
    "llama4_text": lambda: Llama4ForCausalLM(
        Llama4TextConfig(**SIZES, intermediate_size_mlp=96, num_local_experts=2, attention_chunk_size=64)
    ),
}


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_whose_attention_is_its_own_affair_is_refused_by_name(family: str) -> None:
    """Their positions, states or chunks would be ignored in silence, and the tokens be wrong."""
    with pytest.raises(FailedPrecondition, match=f"models of type '{family}' are not served"):
        TransformersForward(REFUSED[family]().train(False), 8, 128)


def test_the_check_of_a_model_leaves_the_cache_as_it_was() -> None:
    forward = TransformersForward(tiny("gpt2"), 8, 128)
    assert forward.cache.available == 8
    assert all(not tensor.any() for tensor in (*forward.cache.keys, *forward.cache.values))
