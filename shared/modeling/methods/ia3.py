"""IA3 (Liu et al. 2022, https://arxiv.org/abs/2205.05638): keys, values and the feed-forward's inner activations,
each scaled by a learnt vector."""

from typing import ClassVar

from peft import IA3Config
from transformers import PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.methods.adapters import AdapterMethod, common_fields
from shared.modeling.methods.parts import linear_names
from shared.modeling.methods.targets import chosen_layers
from shared.pipelines.architectures import is_key_or_value, is_second_feed_forward
from shared.pipelines.methods import MethodConfig


class Ia3(AdapterMethod):
    name: ClassVar[str] = "ia3"

    def configure(self, model: PreTrainedModel, config: MethodConfig) -> IA3Config:
        chosen = chosen_layers(model, config.targets) if config.targets else _usual_layers(model)
        second = [name for name in chosen if is_second_feed_forward(name)]
        return IA3Config(target_modules=chosen, feedforward_modules=second, **common_fields(model))


def _usual_layers(model: PreTrainedModel) -> list[str]:
    linear = linear_names(model)
    found = [name for name in linear if is_key_or_value(name) or is_second_feed_forward(name)]
    if not any(map(is_key_or_value, found)) or not any(map(is_second_feed_forward, found)):
        known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise InvalidArgument(
            f"method.targets: which layers of the base model make keys and values is not known; name some of {known}",
            field="method.targets",
        )
    return found
