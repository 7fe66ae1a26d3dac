"""LoRA adapters beside a base that many versions share (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

y = x W^T + (x A^T) B^T: the base's product is computed once for all rows of a step, each adapter's only for its own.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from services.inference.engine.quantization import Int8Linear
from shared.errors import DataCorrupted

KEY = re.compile(r"^base_model\.model\.(.+)\.lora_([AB])\.weight$")
LAYER = re.compile(r"\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)$")
Shapes = Mapping[str, tuple[int, int]]
PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
BEYOND = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
)


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one product: `a` (rank, in) and `b` (out, rank), which carries the scale."""

    a: torch.Tensor
    b: torch.Tensor


@dataclass(frozen=True, eq=False)
class Adapter:
    """Weights of an adapter by the name of the module that they belong to."""

    digest: str
    modules: Mapping[str, LowRank]

    @cached_property
    def layers(self) -> Mapping[int, Mapping[str, LowRank]]:
        """For models of the Llama family: layer -> projection (`q_proj`, `down_proj`, ...) -> weights."""
        found: dict[int, dict[str, LowRank]] = {}
        for name, part in self.modules.items():
            if match := LAYER.search(name):
                found.setdefault(int(match[1]), {})[match[2]] = part
        return found

    @property
    def memory_bytes(self) -> int:
        return sum(part.a.nbytes + part.b.nbytes for part in self.modules.values())


def adaptable(model: PreTrainedModel) -> dict[str, tuple[int, int]]:
    """Names and shapes (out, in) of the products that an adapter may add to: all linear ones but the head."""
    head: torch.nn.Module = cast(Any, model).get_output_embeddings()
    shapes: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Int8Linear)) and module is not head:
            shapes[name] = (module.out_features, module.in_features)
        elif isinstance(module, Conv1D):
            shapes[name] = (module.weight.shape[1], module.weight.shape[0])
    return shapes


def is_plain(folder: Path) -> bool:
    """Whether the adapter of a PEFT folder is low-rank products and nothing else, so that it can stay apart."""
    document = _document(folder)
    return (
        document.get("peft_type") == "LORA"
        and document.get("bias", "none") == "none"
        and document.get("init_lora_weights", True) in PLAIN_STARTS
        and not any(document.get(name) for name in BEYOND)
    )


def read_adapter(folder: Path, digest: str, shapes: Shapes, dtype: torch.dtype, device: str = "cpu") -> Adapter:
    """The adapter of a PEFT folder that `is_plain`, for a base with products of these `shapes`.

    Raises DataCorrupted when its weights are not exactly those that its configuration asks for.
    """
    config = LoraConfig(**{name: value for name, value in _document(folder).items() if name in _FIELDS})
    parts = _parts(folder)
    wanted = {name for name in shapes if _targets(config, name)}
    if strange := sorted(parts.keys() ^ wanted):
        what = "has a module too many" if strange[0] in parts else "lacks a module"
        raise DataCorrupted(f"adapter {folder.name} {what}: {strange[0]}")
    modules = {}
    for name, found in parts.items():
        rank, scale = _rank_and_scale(config, name)
        _check_shapes(folder, name, found, shapes[name], rank)
        a, b = (found[letter].to(device=device, dtype=torch.float32) for letter in "AB")
        modules[name] = LowRank(a.to(dtype), (b * scale).to(dtype))
    return Adapter(digest, modules)


_FIELDS = frozenset(LoraConfig.__dataclass_fields__)


def _document(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataCorrupted(f"no readable adapter_config.json in {folder.name}: {error}") from None
    return found


def _parts(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Module name -> A and B."""
    try:
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise DataCorrupted(f"no readable adapter_model.safetensors in {folder.name}: {error}") from None
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = KEY.match(key)
        if match is None:
            raise DataCorrupted(f"adapter {folder.name} has a strange key: {key}")
        parts.setdefault(match[1], {})[match[2]] = tensor
    return parts


def _targets(config: LoraConfig, name: str) -> bool:
    return config.target_modules == "all-linear" or bool(check_target_module_exists(config, name))


def _rank_and_scale(config: LoraConfig, name: str) -> tuple[int, float]:
    """Rank and scale of one module; rsLoRA (Kalajdzievski 2023) divides by the root of the rank."""
    ranks, alphas = dict(config.rank_pattern or {}), dict(config.alpha_pattern or {})
    rank = int(ranks.get(get_pattern_key(list(ranks), name), config.r))
    alpha = float(alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha))
    return rank, alpha / (math.sqrt(rank) if config.use_rslora else rank)


def _check_shapes(
    folder: Path, name: str, found: Mapping[str, torch.Tensor], shape: tuple[int, int], rank: int
) -> None:
    wanted = {"A": (rank, shape[1]), "B": (shape[0], rank)}
    for letter, expected in wanted.items():
        seen = tuple(found[letter].shape) if letter in found else "missing"
        if seen != expected:
            raise DataCorrupted(f"adapter {folder.name}: lora_{letter} of {name} is {seen}, not {expected}")


def stack(parts: Sequence[LowRank | None], widths: Sequence[int]) -> LowRank | None:
    """The parts of fused products as one: `a` below each other, `b` on the diagonal of blocks of height `widths`."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    a = torch.cat([part.a for part in present])
    b = a.new_zeros(sum(widths), len(a))
    row = column = 0
    for part, width in zip(parts, widths, strict=True):
        if part is not None:
            rank = part.b.shape[1]
            b[row : row + width, column : column + rank] = part.b
            column += rank
        row += width
    return LowRank(a, b)


def add_product(out: torch.Tensor, hidden: torch.Tensor, part: LowRank, rows: torch.Tensor | None) -> None:
    """Add (x A^T) B^T to `out` (tokens, out) in place, for the given rows of `hidden` (tokens, in); None: for all."""
    if rows is None:
        out.add_(functional.linear(functional.linear(hidden, part.a), part.b))
    else:
        out.index_add_(0, rows, functional.linear(functional.linear(hidden[rows], part.a), part.b))
