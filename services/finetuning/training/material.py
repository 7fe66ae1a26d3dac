"""What a run trains and on what."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from shared.modeling.kinds.base import Example, Kind
from shared.modeling.methods.base import Method


@dataclass(frozen=True)
class Material:
    """A prepared model with the examples of both splits."""

    kind: Kind
    method: Method
    model: PreTrainedModel
    pad_id: int
    train: Sequence[Example]
    validation: Sequence[Example]
