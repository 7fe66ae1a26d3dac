"""What all adapters have in common: PEFT's configuration, tensors that are read as strictly as they were written."""

import json
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from shared.errors import DataCorrupted
from shared.modeling.methods.base import Method
from shared.modeling.methods.frozen import hold_frozen
from shared.modeling.methods.parts import head_names
from shared.pipelines.methods import MethodConfig

TASK_TYPES = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}
"""PEFT's name for what a model class does; other classes have none."""


class AdapterMethod(Method):
    """An adapter on a frozen base. New heads are trained whole and lie in the adapter's file."""

    adapter: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True
    """Whether the adapter can become a part of the base's weights."""

    @abstractmethod
    def configure(self, model: PreTrainedModel, config: MethodConfig) -> PeftConfig:
        """PEFT's configuration for a base model. Raises InvalidArgument when the base lacks what is to be adapted."""

    def wrap(self, model: PreTrainedModel, config: PeftConfig) -> PreTrainedModel:
        """The model (changed in place) with a fresh adapter."""
        return cast(PreTrainedModel, get_peft_model(model, config, autocast_adapter_dtype=False))

    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        with without_peft_warnings():
            adapted = self.wrap(model, self.configure(model, config))
        hold_frozen(adapted, config.base_precision)
        return adapted

    def save(self, model: PreTrainedModel, folder: Path, base: str) -> None:
        state = {name: value.detach().contiguous() for name, value in sorted(_tensors(model).items())}
        save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        document = cast(PeftModel, model).peft_config["default"].to_dict()
        document |= {"base_model_name_or_path": base, "inference_mode": True}
        # PEFT adds names of heads whenever it wraps a classifier.
        document["modules_to_save"] = sorted(set(document["modules_to_save"] or ())) or None
        (folder / "adapter_config.json").write_text(
            json.dumps(document, indent=1, sort_keys=True, default=sorted) + "\n", encoding="utf-8"
        )

    def take_over(self, model: PreTrainedModel, folder: Path) -> None:
        given = read_tensors(folder)
        with without_peft_warnings():
            check_tensors(folder, given, _tensors(model))
            set_peft_model_state_dict(model, given)

    def attach(self, model: PreTrainedModel, folder: Path, merge: bool) -> PreTrainedModel:
        given = read_tensors(folder)
        with without_peft_warnings():
            adapted = self.wrap(model, read_config(folder))
            check_tensors(folder, given, _tensors(adapted))
            set_peft_model_state_dict(adapted, given)
            return _merged(adapted) if merge and self.mergeable else adapted


def _merged(adapted: PreTrainedModel) -> PreTrainedModel:
    # PEFT would look for a weight on a head of several layers.
    for parent in adapted.modules():
        for name, child in parent.named_children():
            if isinstance(child, ModulesToSaveWrapper):
                setattr(parent, name, child.modules_to_save["default"])
    return cast(PreTrainedModel, cast(Any, adapted).merge_and_unload())


def read_config(folder: Path) -> PeftConfig:
    """PEFT's configuration of an adapter's folder. Raises DataCorrupted."""
    try:
        return cast(PeftConfig, PeftConfig.from_pretrained(str(folder)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataCorrupted(f"no readable adapter_config.json in {folder.name}: {error}") from None


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of an adapter's folder. Raises DataCorrupted."""
    try:
        return load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise DataCorrupted(f"no readable adapter_model.safetensors in {folder.name}: {error}") from None


def check_tensors(folder: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raises DataCorrupted naming the first tensor that is missing, unexpected or of another shape."""
    for name in sorted(given.keys() ^ wanted.keys()):
        what = "has a key too many" if name in given else "lacks a key"
        raise DataCorrupted(f"adapter {folder.name} {what}: {name}")
    for name, value in given.items():
        if value.shape != wanted[name].shape:
            raise DataCorrupted(
                f"adapter {folder.name}: {name} is {tuple(value.shape)}, its labels and its base ask for "
                f"{tuple(wanted[name].shape)}"
            )


def common_fields(model: PreTrainedModel) -> dict[str, Any]:
    """Fields of every PeftConfig."""
    name = type(model).__name__
    task = next((task for end, task in TASK_TYPES.items() if name.endswith(end)), None)
    return {"task_type": task, "modules_to_save": head_names(model) or None}


def _tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    with without_peft_warnings():  # of layers that AdaLoRA has left no rank
        found: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return found


@contextmanager
def without_peft_warnings() -> Iterator[None]:
    """PEFT asks transformers for an attribute by its old name; what else it warns of is an error or intended here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
