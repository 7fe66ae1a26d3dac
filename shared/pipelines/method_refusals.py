"""Keys of a method that contradict its kind, its name or one another. Torch-free."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.kinds import KINDS

CUT_ON_A_PLAN = ("ema_decay", "patience", "keep_best")
"""Keys that keep weights of before the last step."""


def refuse_contradictions(kind: str, given: Mapping[str, Any], complete: Mapping[str, Any]) -> None:
    """Raises ValueError naming the key, for unchecked keys as `given` and with the defaults filled in."""
    _check_ranks(complete)
    if complete["name"] == "adalora":
        for key in CUT_ON_A_PLAN:
            if complete[key] not in (None, False):
                raise ValueError(
                    f"method.{key}: adalora takes ranks away along a plan that ends with the last step; weights of "
                    "before that have more of them than lora_rank"
                )
    if complete["optimizer"] == "sgd" and "learning_rate" not in given:
        raise ValueError(
            "method.learning_rate: the tested defaults are AdamW's and far too small for sgd; give one, 0.01 to 0.3 "
            "is usual"
        )
    if complete["class_weights"] != "none" and not KINDS[kind].labelled:
        raise ValueError(f"method.class_weights: has no effect with kind {kind}, which has no labels")


def _check_ranks(keys: Mapping[str, Any]) -> None:
    rank, initial = keys["lora_rank"], keys["initial_rank"]
    if keys["name"] == "adalora" and isinstance(rank, int) and isinstance(initial, int) and initial <= rank:
        raise ValueError(
            f"method.initial_rank: {initial} leaves adalora no ranks to take away; it must be above lora_rank ({rank})"
        )
