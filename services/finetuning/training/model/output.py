"""The finished model folder: what `from_pretrained` (or PEFT) loads, with Flywheel's card."""

from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from services.finetuning.training.model.compact import restore
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.bases import BaseModel
from shared.modeling.card import ModelCard
from shared.modeling.digests import adapter_digest, weights_digest
from shared.modeling.folders import whole_folder
from shared.modeling.methods import find_method


def write_model(
    target: Path,
    model: PreTrainedModel,
    weights: TrainedWeights,
    tokenizer: PreTrainedTokenizerBase,
    base: BaseModel,
    card: ModelCard,
) -> ModelCard:
    """Write the model folder whole; the card comes back with the digests of what was written."""
    method = find_method(card.method)
    weights.settle()
    restore(model)
    with whole_folder(target) as aside:
        method.save(model, aside, base.name)
        tokenizer.save_pretrained(aside)
        if method.adapter:
            card = replace(card, weights_digest=weights_digest(base.path), adapter_digest=adapter_digest(aside))
        else:
            card = replace(card, weights_digest=weights_digest(aside))
        card.write(aside)
    return card
