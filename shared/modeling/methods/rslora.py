"""rsLoRA (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732): LoRA whose scale is alpha / root of rank, so that
high ranks learn as fast as low ones."""

from typing import Any, ClassVar

from shared.modeling.methods.lora import Lora


class RsLora(Lora):
    name: ClassVar[str] = "rslora"
    variant: ClassVar[dict[str, Any]] = {"use_rslora": True}
