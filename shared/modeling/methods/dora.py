"""DoRA (Liu et al. 2024, https://arxiv.org/abs/2402.09353): LoRA on the direction of each weight column, and its
length learnt apart."""

from typing import Any, ClassVar

from shared.modeling.methods.lora import Lora


class Dora(Lora):
    name: ClassVar[str] = "dora"
    variant: ClassVar[dict[str, Any]] = {"use_dora": True}
