"""Adapters of every method on tiny bases, with weights that change the answers, as a finished run leaves them."""

from pathlib import Path
from typing import Any

import torch
from transformers import BertModel, set_seed

from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, base_digest, weights_digest
from shared.modeling.kinds import find_kind
from shared.modeling.loading import load_tokenizer
from shared.modeling.methods import find_method
from shared.pipelines.methods import MethodConfig
from tests.support.tiny_models import tiny_encoder

SMALL = {"lora_rank": 3, "initial_rank": 5, "virtual_tokens": 5, "layers": 1}


def tuned(base: Path, kind: str, method: str, labels: tuple[str, ...] = (), seed: int = 0, **keys: Any) -> Any:
    """A model of the kind as the method trains it, the trained weights moved at random."""
    set_seed(seed)
    config = MethodConfig(name=method, **{**SMALL, **keys})
    model = find_method(method).prepare(find_kind(kind).load(base, labels), kind, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.train(False)


def tuned_folder(
    folder: Path, base: Path, kind: str, method: str, labels: tuple[str, ...] = (), seed: int = 0, **keys: Any
) -> Path:
    """What a run of the method leaves, card included. Returns `folder`."""
    model = tuned(base, kind, method, labels, seed, **keys)
    folder.mkdir(parents=True)
    found = find_method(method)
    found.save(model, folder, str(base))
    load_tokenizer(base).save_pretrained(folder)
    card = ModelCard(
        kind=kind,
        method=method,
        labels=labels,
        base=str(base),
        base_digest=base_digest(base),
        max_length=48,
        weights_digest=weights_digest(base if found.adapter else folder),
        adapter_digest=adapter_digest(folder) if found.adapter else "",
        run=f"run-{seed}",
        dataset_digest="0" * 64,
        precision="float32",
    )
    card.write(folder)
    return folder


def lively_encoder(folder: Path) -> Path:
    """A tiny encoder whose frozen layers tell texts apart, as a fresh one's hardly do. Returns `folder`."""
    model: Any = BertModel.from_pretrained(tiny_encoder(folder), hidden_dropout_prob=0, attention_probs_dropout_prob=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(10)
    model.save_pretrained(folder)
    return folder
