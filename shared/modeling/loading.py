"""Model folders and base models into memory."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import DataCorrupted, FailedPrecondition, InvalidArgument
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, base_digest, weights_digest
from shared.modeling.kinds import find_kind
from shared.modeling.methods import find_method
from shared.pipelines.kinds import KINDS
from shared.pipelines.options import Options

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, ready to predict."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard


def load_model(
    folder: Path, *, base: Path | None = None, device: str = "cpu", dtype: str = "float32", merge: bool = True
) -> LoadedModel:
    """Load what a run wrote. An adapter needs its `base` folder; it is merged into it, where its method allows that,
    unless told otherwise.

    Raises DataCorrupted when weights, adapter or base do not have the digests on the card, or shapes that its labels
    do not ask for.
    """
    card = ModelCard.read(folder)
    kind = find_kind(card.kind, Options(**card.options))
    method = find_method(card.method)
    if method.adapter:
        model = method.attach(kind.load(_checked_base(folder, card, base), card.labels), folder, merge)
    else:
        _expect(weights_digest(folder), card.weights_digest, f"weights of {folder.name}")
        model = kind.load(folder, card.labels)
        _check_shapes(folder, model)
    return LoadedModel(_ready(model, device, dtype), load_tokenizer(folder), card)


def load_base(
    base: BaseModel,
    kind: str,
    *,
    max_length: int = 1024,
    device: str = "cpu",
    dtype: str = "float32",
    options: Options | None = None,
) -> LoadedModel:
    """Load a base model as it is, for a kind that needs no new head; its card's method and run are empty."""
    if kind not in KINDS or not KINDS[kind].base_answers:
        raise FailedPrecondition(f"base model {base.name} has no head for kind {kind!r} before it is trained")
    card = ModelCard(
        kind=kind,
        method="",
        labels=(),
        base=base.name,
        base_digest=base.digest,
        max_length=max_length,
        weights_digest=weights_digest(base.path),
        adapter_digest="",
        run="",
        dataset_digest="",
        precision="",
        options=options.chosen(kind) if options else {},
    )
    model = find_kind(kind, options).load(base.path, ())
    return LoadedModel(_ready(model, device, dtype), load_tokenizer(base.path), card)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer; one without a pad token pads with EOS (masks are made from lengths).

    Raises DataCorrupted when the folder has none that can be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises Exception itself
        raise DataCorrupted(f"no readable tokenizer in {folder.name}: {error}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tensor_file_bytes(path: Path, dtype: torch.dtype) -> int:
    """Bytes that the tensors of a safetensors file take in memory as `dtype`, read from its header alone.

    Raises DataCorrupted when the file is no safetensors file, or shorter than its header says.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes: list[list[int]] = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except SafetensorError as error:
        raise DataCorrupted(f"{path.parent.name}/{path.name} is no whole safetensors file: {error}") from None
    return sum(math.prod(shape) for shape in shapes) * dtype.itemsize


def cast_parameters(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Change the dtype of the parameters; buffers (rotary frequencies) keep their precision."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _ready(model: PreTrainedModel, device: str, dtype: str) -> PreTrainedModel:
    if dtype not in DTYPES:
        raise InvalidArgument(f"dtype: {dtype!r} is unknown; known: {', '.join(DTYPES)}", field="dtype")
    cast_parameters(model, DTYPES[dtype])
    model.requires_grad_(False)
    module: torch.nn.Module = model.train(False)
    module.to(torch.device(device))
    return model


def _check_shapes(folder: Path, model: PreTrainedModel) -> None:
    """A head of another size than the labels ask for would be drawn anew without a word."""
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                shape = file.get_slice(name).get_shape()
                if shape != wanted.get(name, shape):
                    raise DataCorrupted(
                        f"model {folder.name}: {name} is {tuple(shape)}, the labels on its card ask for "
                        f"{tuple(wanted[name])}"
                    )


def _checked_base(folder: Path, card: ModelCard, base: Path | None) -> Path:
    if base is None:
        raise InvalidArgument(f"model {folder.name} is an adapter: it needs its base model {card.base}", field="base")
    _expect(adapter_digest(folder), card.adapter_digest, f"adapter of {folder.name}")
    _expect(base_digest(base), card.base_digest, f"base model {base.name} of adapter {folder.name}")
    return base


def _expect(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise DataCorrupted(f"{what}: digest is {found[:12]}, the card says {wanted[:12]}")
