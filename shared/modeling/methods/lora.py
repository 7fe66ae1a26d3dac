"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) through PEFT, on all linear layers."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from shared.errors import DataCorrupted
from shared.modeling.methods.base import Method
from shared.pipelines.methods import MethodConfig

TASK_TYPES = {"classification": "SEQ_CLS", "chat": "CAUSAL_LM"}


class Lora(Method):
    name = "lora"
    adapter = True

    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        wanted = LoraConfig(
            r=config.lora_rank,
            lora_alpha=cast(int, config.lora_alpha),
            lora_dropout=config.lora_dropout,
            target_modules="all-linear",
            task_type=TASK_TYPES[kind],
        )
        with _without_peft_warnings():
            return cast(PreTrainedModel, get_peft_model(model, wanted, autocast_adapter_dtype=False))

    def save(self, model: PreTrainedModel, folder: Path, base: str) -> None:
        peft = cast(PeftModel, model)
        state = get_peft_model_state_dict(peft, save_embedding_layers=False)
        save_file(dict(sorted(state.items())), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        document = peft.peft_config["default"].to_dict()
        document |= {"base_model_name_or_path": base, "inference_mode": True}
        (folder / "adapter_config.json").write_text(
            json.dumps(document, indent=1, sort_keys=True, default=sorted) + "\n", encoding="utf-8"
        )


def attach(model: PreTrainedModel, folder: Path, merge: bool) -> PreTrainedModel:
    """The base `model` (changed in place) with the adapter of `folder` on it, or merged into its weights.

    Raises DataCorrupted when the adapter's keys are not exactly those that its configuration asks for.
    """
    given = set(load_file(folder / "adapter_model.safetensors"))
    with _without_peft_warnings():
        peft = PeftModel.from_pretrained(model, str(folder), autocast_adapter_dtype=False)
    wanted = set(get_peft_model_state_dict(peft, save_embedding_layers=False))
    if given != wanted:
        strange = sorted(given ^ wanted)[0]
        what = "has a key too many" if strange in given else "lacks a key"
        raise DataCorrupted(f"adapter {folder.name} {what}: {strange}")
    return cast(PreTrainedModel, peft.merge_and_unload() if merge else peft)


@contextmanager
def _without_peft_warnings() -> Iterator[None]:
    """PEFT asks transformers for an attribute by its old name; missing keys, its other warning, are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
