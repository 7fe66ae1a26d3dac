"""Keys of a method that say what is made of the train rows. Torch-free."""

from collections.abc import Mapping
from typing import Any

PACKED = ("translation", "summarisation", "chat", "instruction", "generation")


def check_train_rows(kind: str, method: str, given: Mapping[str, Any], virtual: bool) -> None:
    """Raises ValueError naming the key that has no effect; `virtual`: whether the method puts tokens before texts."""
    packing = given.get("packing", "auto")
    if packing == "auto":
        return
    if kind == "pretraining":
        raise ValueError("method.packing: pretraining packs documents into blocks in any case; leave it at auto")
    if packing and kind not in PACKED:
        raise ValueError(f"method.packing: kind {kind} can't be packed, only {', '.join(PACKED)}; leave it at auto")
    if packing and virtual:
        raise ValueError(
            f"method.packing: the virtual tokens of {method} stand before a line, not before each text of it; leave it "
            "at auto"
        )
