"""Adapters beside their base give what PEFT gives; several share one batch and do not see each other."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.inference.engine.adapters import Adapter, adaptable, is_plain
from services.inference.engine.forward import Forward, TransformersForward
from services.inference.engine.interface import FinishReason, GenerationRequest, Stopping
from services.inference.engine.llama import LlamaForward
from services.inference.engine.step import Segment, Step
from shared.errors import DataCorrupted, NotFound
from tests.unit.inference.engine.conftest import Make, end_of, ids_of
from tests.unit.inference.engine.lora import lora, read
from tests.unit.inference.engine.test_families import generated
from tests.unit.inference.engine.tiny import tiny

IDS = [(5 * at * at) % 256 for at in range(40)]
SOME = {"target_modules": ["q_proj", "v_proj", "down_proj"]}
UNEVEN = {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6}, "alpha_pattern": {"k_proj": 3}}


def forward_of(family: str) -> Forward:
    model = tiny(family)
    return LlamaForward(model, 16, 128) if LlamaForward.fits(model) else TransformersForward(model, 16, 128)


def logits(forward: Forward, adapters: Sequence[Adapter | None]) -> list[torch.Tensor]:
    """Of one step in which each adapter has the same tokens."""
    segments = [Segment([2 * n, 2 * n + 1], 0, IDS, len(IDS), one) for n, one in enumerate(adapters)]
    with torch.inference_mode():
        return list(forward(Step(segments, forward.cache)).view(len(adapters), len(IDS), -1))


@pytest.mark.parametrize("options", [{}, SOME, UNEVEN, {"use_rslora": True}], ids=["all", "some", "uneven", "rslora"])
def test_an_adapter_beside_its_base_gives_the_logits_of_the_merged_model(tmp_path: Path, options: Any) -> None:
    merged = lora(tmp_path, **options).merge_and_unload()
    with torch.inference_mode():
        expected = merged(torch.tensor([IDS])).logits[0]
    found, plain = logits(forward_of("llama"), [read(tmp_path, "a"), None])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - plain).abs().max() > 0.1


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "mistral", "gpt2", "gemma2"])
def test_adapters_of_other_families_too(tmp_path: Path, family: str) -> None:
    peft = lora(tmp_path, family)
    with torch.inference_mode():
        expected = peft(torch.tensor([IDS])).logits[0]
    forward = forward_of(family)
    for adapters in ([read(tmp_path, "a", family)], [None, read(tmp_path, "a", family)]):
        torch.testing.assert_close(logits(forward, adapters)[-1], expected, atol=1e-4, rtol=1e-4)


def test_a_batch_of_the_base_and_three_adapters_gives_each_what_it_gets_alone(engine_of: Make, tmp_path: Path) -> None:
    prompts = [tuple(IDS[:length]) for length in (3, 20, 39, 11)]
    expected = [generated(tiny("llama"), prompts[0], 16)]
    engine = engine_of("llama", slots=8)
    for n in (1, 2, 3):
        expected.append(generated(lora(tmp_path / str(n), seed=n), prompts[n], 16))
        engine.add_adapter(read(tmp_path / str(n), f"digest-{n}"))
    names = [None, "digest-1", "digest-2", "digest-3"]
    streams = [
        engine.submit(GenerationRequest(str(n), prompt, stopping=Stopping(max_tokens=16), adapter=name))
        for n, (prompt, name) in enumerate(zip(prompts, names, strict=True))
    ]
    assert [ids_of(list(stream)) for stream in streams] == expected
    assert generated(tiny("llama"), prompts[1], 16) != expected[1], "the adapter changes nothing: this shows nothing"


def test_an_adapter_that_leaves_takes_nothing_from_requests_that_run(engine_of: Make, tmp_path: Path) -> None:
    peft, other = lora(tmp_path / "a"), lora(tmp_path / "b", seed=2)
    engine = engine_of("llama", slots=8)
    long = Stopping(max_tokens=100, ignore_eos=True)
    prompt = tuple(IDS[:5])
    engine.add_adapter(read(tmp_path / "a", "a"))
    stream = engine.submit(GenerationRequest("r", prompt, stopping=long, adapter="a"))
    engine.remove_adapter("a")
    engine.add_adapter(read(tmp_path / "b", "b"))
    with pytest.raises(NotFound, match="adapter a is not loaded"):
        engine.submit(GenerationRequest("late", prompt, stopping=long, adapter="a"))
    beside = engine.submit(GenerationRequest("s", prompt, stopping=Stopping(max_tokens=10), adapter="b"))
    assert ids_of(list(beside)) == generated(other, prompt, 10)
    outputs = list(stream)
    assert ids_of(outputs)[:10] == generated(peft, prompt, 10)
    assert end_of(outputs).reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    "options", [{"use_dora": True}, {"bias": "lora_only"}, {"modules_to_save": ["lm_head"]}, {"lora_bias": True}]
)
def test_an_adapter_that_is_more_than_products_is_not_plain(tmp_path: Path, options: Any) -> None:
    lora(tmp_path / "plain")
    lora(tmp_path / "more", "gpt2" if "bias" in options else "llama", **options)
    assert (is_plain(tmp_path / "plain"), is_plain(tmp_path / "more")) == (True, False)


def change(folder: Path, edit: Any) -> None:
    """Edits the tensors of an adapter in place."""
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tensors: [tensors.pop(f"{FIRST}.lora_{letter}.weight") for letter in "AB"], "lacks a module"),
        (lambda tensors: tensors.pop(f"{FIRST}.lora_B.weight"), "lora_B of .*q_proj is missing"),
        (
            lambda tensors: tensors.update({f"{FIRST}.lora_A.weight": torch.zeros(3, 48)}),
            r"is \(3, 48\), not \(4, 48\)",
        ),
        (lambda tensors: tensors.update({"strange.weight": torch.zeros(1)}), "strange key: strange.weight"),
        (
            lambda tensors: tensors.update({f"{FIRST}x.lora_A.weight": torch.zeros(4, 48)}),
            "has a module too many: model.layers.0.self_attn.q_projx",
        ),
    ],
)
def test_weights_that_are_not_what_the_configuration_asks_for_are_refused(
    tmp_path: Path, edit: Any, message: str
) -> None:
    lora(tmp_path)
    change(tmp_path, edit)
    with pytest.raises(DataCorrupted, match=message):
        read(tmp_path, "a")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    lora(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(DataCorrupted, match=r"adapter_model\.safetensors"):
        read(tmp_path, "a")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4})[:-1])
    with pytest.raises(DataCorrupted, match=r"adapter_config\.json"):
        is_plain(tmp_path)


def test_an_adapter_knows_its_layers_and_its_bytes(tmp_path: Path) -> None:
    lora(tmp_path)
    adapter = read(tmp_path, "a")
    assert sorted(adapter.layers) == [0, 1]
    assert {name: tuple(part.b.shape) for name, part in adapter.layers[1].items()} == {
        "q_proj": (48, 4),
        "k_proj": (16, 4),
        "v_proj": (16, 4),
        "o_proj": (48, 4),
        "gate_proj": (96, 4),
        "up_proj": (96, 4),
        "down_proj": (48, 4),
    }
    assert adapter.memory_bytes == sum(
        tensor.nbytes for tensor in load_file(tmp_path / "adapter_model.safetensors").values()
    )
    assert "lm_head" not in adaptable(tiny("llama"))
