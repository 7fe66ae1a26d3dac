"""Keys and values that came from outside are read as if the engine had computed them."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from services.inference.engine.cache import PAGE
from services.inference.engine.forward import Forward, TransformersForward
from services.inference.engine.llama import LlamaForward
from services.inference.engine.native import library
from services.inference.engine.native.forward import NativeLlamaForward
from services.inference.engine.presets import HeldPreset, Preset
from services.inference.engine.step import Segment, Step
from shared.errors import DataCorrupted
from tests.unit.inference.engine import native_models
from tests.unit.inference.engine.tiny import FAMILIES

IDS = [token % 250 for token in native_models.tokens(100)]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
def preset_of(model: Any, length: int) -> Preset:
    """What the model's own forward pass keeps of the first tokens."""
    cache: Any = DynamicCache()
    model(torch.tensor([IDS[:length]]), past_key_values=cache, use_cache=True)
    return Preset("p", [layer.keys[0] for layer in cache.layers], [layer.values[0] for layer in cache.layers])


@torch.inference_mode()
def logits_behind(forward: Forward, preset: Preset) -> torch.Tensor:
    held = HeldPreset(preset)
    held.hold(forward.cache)
    pages = [*held.pages, *(forward.cache.allocate() for _ in range(4))]
    rest = IDS[preset.length :]
    found = forward(Step([Segment(pages, preset.length, rest, len(rest))], forward.cache))
    held.release(forward.cache)
    assert held.pages == []
    return found


@pytest.mark.parametrize("length", [1, 31, PAGE, PAGE + 1, 2 * PAGE])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2-windows"])
def test_a_text_goes_on_behind_a_preset(family: str, length: int) -> None:
    torch.manual_seed(0)
    model = FAMILIES[family]().train(False)
    with torch.no_grad():
        expected = model(torch.tensor([IDS])).logits[0, length:]
    preset = preset_of(model, length)
    forward = LlamaForward(model, 9, 256) if LlamaForward.fits(model) else TransformersForward(model, 9, 256)
    torch.testing.assert_close(logits_behind(forward, preset), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(library.why_not() is not None, reason=str(library.why_not()))
@pytest.mark.parametrize("length", [1, 31, PAGE, PAGE + 1, 2 * PAGE])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_the_native_step_reads_it_in_its_own_order(family: str, length: int) -> None:
    model = native_models.model(family)
    expected = native_models.truth(copy.deepcopy(model), IDS)[length:]
    with torch.no_grad():
        usual = model(torch.tensor([IDS])).logits[0, length:].float()
    preset = preset_of(model, length)
    found = logits_behind(NativeLlamaForward(model, 9, 256), preset)
    error = native_models.root_mean_square
    assert error(found - expected) < 1.2 * error(usual - expected)


def test_a_preset_of_other_heads_is_refused_and_takes_no_page() -> None:
    forward = LlamaForward(FAMILIES["llama"]().train(False), 9, 256)
    for keys in ([torch.zeros(2, 4, 8)], [torch.zeros(3, 4, 8)] * 2, [torch.zeros(2, 4, 16)] * 2):
        with pytest.raises(DataCorrupted, match="its base has"):
            HeldPreset(Preset("p", keys, keys)).hold(forward.cache)
    assert forward.cache.used == 0
