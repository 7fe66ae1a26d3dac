"""Pretrained models: a causal one writes, an encoder gives vectors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from services.inference.kinds import generation
from services.inference.kinds.base import Resources, Served
from services.inference.kinds.embedding import Embedder
from shared.modeling.kinds.pretraining import Pretraining, objective_of
from shared.modeling.loading import LoadedModel
from shared.pipelines.options import Options


def serve_pretrained(loaded: LoadedModel, resources: Resources) -> Served:
    """Of an encoder only what lies below its head for masked words."""
    if Pretraining(Options(**loaded.card.options)).causal:
        return generation.serve(loaded, resources)
    model: Any = loaded.model
    return Embedder(replace(loaded, model=model.base_model), resources)


def base_options(kind: str, folder: Path) -> Options | None:
    """With which options an untouched base model is loaded: what it is says what it can learn."""
    return Options(objective=objective_of(folder)) if kind == Pretraining.name else None
