"""The examples of a run's train rows: the same in every epoch, or changed anew."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from services.finetuning.spec import TrainingSpec
from services.finetuning.training.examples.augmentation import Augmented
from services.finetuning.training.examples.paraphrases import read_paraphrases
from shared.modeling.kinds.base import Encoded, Example, Kind
from shared.modeling.kinds.changing import Changeable

OfEpoch = Callable[[int], Sequence[Example]]


def encode_train(
    spec: TrainingSpec,
    kind: Kind,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]],
    labels: tuple[str, ...],
    limit: int,
) -> tuple[Encoded, OfEpoch | None]:
    """The examples of the first epoch and, where they change, those of any."""
    augmentation = spec.method.augmentation
    if augmentation is None:
        return kind.encode(tokenizer, rows, labels, limit), None
    assert isinstance(kind, Changeable), f"{kind.name} is augmented"
    augmented = Augmented(kind, tokenizer, rows, labels, limit, augmentation, spec.seed, read_paraphrases(spec, rows))
    return augmented.encode(0), lambda epoch: augmented.encode(epoch).examples


def all_tokens(examples: Sequence[Example], of_epoch: OfEpoch | None, epochs: int) -> Iterator[int]:
    """Every token that any epoch reads. Of rows that change each epoch is encoded for this once more: what a change
    does to a tokenizer's pieces can't be foretold, and costs little beside training on them."""
    for epoch in range(epochs if of_epoch is not None else 1):
        for example in examples if of_epoch is None else of_epoch(epoch):
            yield from example.tokens()
