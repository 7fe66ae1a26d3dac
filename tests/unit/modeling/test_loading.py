"""Model folders into memory, and what is refused on the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from shared.errors import DataCorrupted, FailedPrecondition, InvalidArgument
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, base_digest, weights_digest
from shared.modeling.kinds import find_kind
from shared.modeling.loading import load_base, load_model, load_tokenizer
from shared.modeling.methods import find_method
from shared.pipelines.methods import MethodConfig
from tests.support.tiny_models import tiny_base, tiny_decoder, tiny_model

IDS = torch.tensor([[1, 40, 50, 60, 70]])


@pytest.fixture
def adapter(tmp_path: Path, decoder: Path) -> Path:
    """A LoRA adapter with weights that change the answers, in the form of a finished run."""
    method = find_method("lora")
    model = method.prepare(find_kind("chat").load(decoder, ()), "chat", MethodConfig(name="lora", lora_rank=4))
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2)
    folder = tmp_path / "adapter"
    folder.mkdir()
    method.save(model, folder, "tiny")
    load_tokenizer(decoder).save_pretrained(folder)
    ModelCard(
        kind="chat",
        method="lora",
        labels=(),
        base="tiny",
        base_digest=base_digest(decoder),
        max_length=64,
        weights_digest=weights_digest(decoder),
        adapter_digest=adapter_digest(folder),
        run="run-1",
        dataset_digest="0" * 64,
        precision="float32",
    ).write(folder)
    return folder


@torch.inference_mode()
def _logits(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=IDS).logits
    return logits


def test_merged_adapter_answers_like_the_unmerged(adapter: Path, decoder: Path) -> None:
    merged = load_model(adapter, base=decoder).model
    apart = load_model(adapter, base=decoder, merge=False).model
    assert isinstance(apart, PeftModel)
    assert not isinstance(merged, PeftModel)
    torch.testing.assert_close(_logits(merged), _logits(apart), rtol=1e-4, atol=1e-4)
    plain = find_kind("chat").load(decoder, ()).eval()
    assert (_logits(plain) - _logits(merged)).abs().max() > 0.01


def test_adapter_loads_with_plain_peft(adapter: Path, decoder: Path) -> None:
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(decoder), str(adapter)).eval()
    assert torch.equal(_logits(plain), _logits(load_model(adapter, base=decoder, merge=False).model))


def test_adapter_is_refused_on_another_base(adapter: Path, tmp_path: Path) -> None:
    other = tiny_decoder(tmp_path / "other", seed=1)
    with pytest.raises(DataCorrupted, match="base model"):
        load_model(adapter, base=other)


def test_adapter_without_its_base_is_refused(adapter: Path) -> None:
    with pytest.raises(InvalidArgument, match="needs its base"):
        load_model(adapter)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_adapter_with_other_keys_is_refused(adapter: Path, decoder: Path, change: str) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    value = tensors.pop(name)
    if change == "unexpected":
        tensors |= {name: value, name.replace("layers.0", "layers.7"): value.clone()}
    save_file(tensors, path)
    card = json.loads((adapter / "flywheel.json").read_text()) | {"adapter_digest": adapter_digest(adapter)}
    (adapter / "flywheel.json").write_text(json.dumps(card))
    with pytest.raises(DataCorrupted, match="key"):
        load_model(adapter, base=decoder)


@pytest.mark.parametrize("kind", ["classification", "chat"])
def test_altered_weights_are_refused(tmp_path: Path, kind: str) -> None:
    folder = tiny_model(tmp_path / "model", kind)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataCorrupted, match="weights"):
        load_model(folder)


def test_folder_without_a_card_is_refused(encoder: Path) -> None:
    with pytest.raises(DataCorrupted, match=r"flywheel\.json"):
        load_model(encoder)


def test_saving_what_was_loaded_gives_the_same_weights(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", "classification", ("a", "b", "c"))
    loaded = load_model(folder)
    loaded.model.save_pretrained(tmp_path / "again")
    assert weights_digest(tmp_path / "again") == loaded.card.weights_digest == weights_digest(folder)
    assert loaded.card.labels == ("a", "b", "c")


def test_bfloat16_keeps_the_precision_of_buffers(tmp_path: Path) -> None:
    model = load_model(tiny_model(tmp_path / "model", "chat"), dtype="bfloat16").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in model.buffers() if buffer.is_floating_point()} <= {torch.float32}


def test_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="dtype"):
        load_model(tiny_model(tmp_path / "model", "chat"), dtype="int3")


def test_base_loads_untouched_for_chat_only(decoder: Path) -> None:
    base = BaseModel("tiny", decoder, base_digest(decoder))
    loaded = load_base(base, "chat")
    assert loaded.card.weights_digest == weights_digest(decoder)
    with pytest.raises(FailedPrecondition, match="no head"):
        load_base(base, "classification")


def test_tiny_bases_are_the_same_every_time(tmp_path: Path) -> None:
    for kind in ("classification", "chat"):
        first, second = (tiny_base(tmp_path / f"{kind}{number}", kind).digest for number in range(2))
        assert first == second
