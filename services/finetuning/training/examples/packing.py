"""Whether the texts of a batch are laid end to end, or padded."""

import torch
from transformers import PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import Kind
from shared.modeling.kinds.end_to_end import attend_apart
from shared.pipelines.methods import VIRTUAL, MethodConfig


def lay_end_to_end(config: MethodConfig, kind: Kind, model: PreTrainedModel, device: torch.device) -> bool:
    """What `method.packing` comes to, the model's attention being set for it: for a whole model, before it is
    placed. On a CPU `auto` packs whatever can be
    packed, because it was never slower; on other devices nothing.

    Raises InvalidArgument where packing is asked for and impossible.
    """
    if not config.packing or (config.packing == "auto" and device.type != "cpu"):
        return False
    reason = _why_not(config, kind) or attend_apart(model)
    if reason is not None and config.packing != "auto":
        raise InvalidArgument(f"method.packing: {reason}; leave it at auto", field="method.packing")
    return reason is None


def _why_not(config: MethodConfig, kind: Kind) -> str | None:
    if not kind.lays_out:
        return "only causal models that write can learn several texts in one line"
    if config.name in VIRTUAL:
        return f"the virtual tokens of {config.name} stand before a line, not before each text of it"
    return None
