"""What a run trains and on what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from shared.modeling.kinds.base import Batch, Example, Kind
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
    end_to_end: bool = False
    """Whether the texts of a batch are laid end to end rather than padded."""

    of_epoch: Callable[[int], Sequence[Example]] | None = None
    """The examples of an epoch, where they are not `train` in every one: as many, in the same order."""

    def batch(self, examples: Sequence[Example]) -> Batch:
        """Examples as a step takes them, on the model's device."""
        made = self.kind.lay_out(examples) if self.end_to_end else self.kind.collate(examples, self.pad_id)
        return {name: value.to(self.model.device) for name, value in made.items()}
