"""What the methods that learn virtual tokens have in common."""

from typing import Any, ClassVar

from peft import PeftConfig
from transformers import PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.methods.adapters import AdapterMethod, common_fields
from shared.modeling.methods.virtual import VirtualTokens
from shared.pipelines.architectures import read_architecture
from shared.pipelines.fitting import why_no_virtual_tokens
from shared.pipelines.methods import MethodConfig


class PromptMethod(AdapterMethod):
    mergeable: ClassVar[bool] = False

    def wrap(self, model: PreTrainedModel, config: PeftConfig) -> PreTrainedModel:
        made: Any = VirtualTokens(model, config)
        found: PreTrainedModel = made
        return found

    def fields(self, model: PreTrainedModel, config: MethodConfig) -> dict[str, Any]:
        """Fields of every PromptLearningConfig. Raises InvalidArgument for a base that can't have virtual tokens."""
        about: Any = model.config
        reason = why_no_virtual_tokens(read_architecture(about.to_dict()), config)
        if reason is not None:
            raise InvalidArgument(f"method.{reason}", field=f"method.{reason.partition(':')[0]}")
        return {
            "num_virtual_tokens": config.virtual_tokens,
            "token_dim": about.hidden_size,
            "num_layers": about.num_hidden_layers,
            "num_attention_heads": about.num_attention_heads,
            "num_transformer_submodules": 1,
            **common_fields(model),
        }
