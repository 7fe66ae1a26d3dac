"""Full fine-tuning: every weight is trained."""

from pathlib import Path

from transformers import PreTrainedModel

from shared.modeling.methods.base import Method
from shared.pipelines.methods import MethodConfig


class Full(Method):
    name = "full"
    adapter = False

    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        model.requires_grad_(True)
        return model

    def save(self, model: PreTrainedModel, folder: Path, base: str) -> None:
        model.save_pretrained(folder)
