"""What a base model is, from its files alone: family, layers, names of its weights. Torch-free, and reads no weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from shared.pipelines.bases import BaseFiles, find_base, read_config
from shared.pipelines.gguf import read_header

ENCODERS = frozenset(
    {
        "albert",
        "bert",
        "big_bird",
        "camembert",
        "convbert",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "ernie",
        "esm",
        "eurobert",
        "flaubert",
        "fnet",
        "funnel",
        "layoutlm",
        "longformer",
        "luke",
        "megatron-bert",
        "mobilebert",
        "modernbert",
        "mpnet",
        "mra",
        "nezha",
        "nomic_bert",
        "nystromformer",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roc_bert",
        "roformer",
        "splinter",
        "squeezebert",
        "xlm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
        "yoso",
        "data2vec-text",
        "ibert",
        "qdqbert",
    }
)
"""Model types whose tokens see the whole text; other types without an encoder of their own are causal."""
OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl"})
KEYS_AND_VALUES = frozenset(
    {"k", "v", "k_proj", "v_proj", "key", "value", "k_lin", "v_lin", "query_key_value", "qkv_proj", "c_attn", "Wqkv"}
)
SECOND_FEED_FORWARD = frozenset({"down_proj", "fc2", "lin2", "wo", "dense_4h_to_h"})
LLAMA_PRODUCTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LLAMA_LINEAR = (*LLAMA_PRODUCTS, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
LLAMA_LIKE = ("llama", "qwen2", "qwen3", "mistral")


class Family(StrEnum):
    """How a model reads and writes."""

    ENCODER = "encoder"
    DECODER = "causal model"
    SEQ2SEQ = "sequence-to-sequence model"


@dataclass(frozen=True)
class Architecture:
    """`layers` and `positions` are 0 where they are not known; so is `linear` empty, the names of two-dimensional
    weights without `.weight`."""

    model_type: str
    family: Family
    layers: int = 0
    positions: int = 0
    linear: tuple[str, ...] = ()


def family_of(config: Mapping[str, Any]) -> Family:
    """Of a model's configuration as a mapping."""
    if config.get("is_encoder_decoder"):
        return Family.SEQ2SEQ
    return Family.ENCODER if config.get("model_type") in ENCODERS and not config.get("is_decoder") else Family.DECODER


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """What a model's configuration says."""
    model_type = str(config.get("model_type", ""))
    positions = _first(config, "max_position_embeddings", "n_positions", "max_sequence_length")
    if positions and model_type in OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id") or 0) + 1
    layers = _first(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
    return Architecture(model_type, family_of(config), layers, positions)


def find_architecture(base: str) -> Architecture | None:
    """Of a base as a pipeline names it; None when its files are not at hand. Raises ValueError for broken files."""
    files = find_base(base)
    if files.source == "hub":
        return None
    return _of_gguf(files) if files.source == "gguf" else _of_folder(files.path)


def is_key_or_value(name: str) -> bool:
    """Whether a layer's name is that of a projection to keys or values (or to both and queries)."""
    return name.rpartition(".")[2] in KEYS_AND_VALUES


def is_second_feed_forward(name: str) -> bool:
    """Whether a layer's name is that of the second product of a feed-forward block."""
    if name.rpartition(".")[2] in SECOND_FEED_FORWARD or name.endswith(("mlp.c_proj", "ffn.lin2")):
        return True
    return name.endswith("output.dense") and not name.endswith("attention.output.dense")


def _of_folder(folder: Path) -> Architecture:
    about = read_architecture(read_config(folder, f"base folder {folder.name}"))
    return replace(
        about, linear=tuple(sorted({name for path in folder.glob("*.safetensors") for name in _matrices(path)}))
    )


def _matrices(path: Path) -> list[str]:
    """Names of the two-dimensional weights in a safetensors file that `find_base` has looked at, from its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = {name: about["shape"] for name, about in header.items() if name != "__metadata__"}
    weights = [name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 2 and ".weight" in name]
    return [name for name in weights if "embed" not in name]


def _of_gguf(files: BaseFiles) -> Architecture:
    header = read_header(files.path)
    model_type = str(header.get("general.architecture", ""))
    layers, positions = (int(header.get(f"{model_type}.{key}", 0)) for key in ("block_count", "context_length"))
    linear: tuple[str, ...] = ()
    if model_type in LLAMA_LIKE:
        linear = tuple(f"model.layers.{layer}.{name}" for layer in range(layers) for name in LLAMA_LINEAR)
    return Architecture(model_type, Family.DECODER, layers, positions, linear)


def _first(config: Mapping[str, Any], *keys: str) -> int:
    return next((value for key in keys if isinstance(value := config.get(key), int) and value > 0), 0)
