"""Which examples each step is made of: a pure function of its number, so that a run can go on from any step."""

from collections.abc import Callable, Sequence

from services.finetuning.training.examples.order import batches_per_epoch, epoch_batches
from shared.modeling.kinds.base import Example
from shared.pipelines.methods import MethodConfig


class Epochs:
    """Passes over the train split, cut into steps of `gradient_accumulation` batches each."""

    def __init__(
        self,
        examples: Sequence[Example],
        config: MethodConfig,
        seed: int,
        dataset_digest: str,
        of_epoch: Callable[[int], Sequence[Example]] | None = None,
    ) -> None:
        """`of_epoch` gives the examples of epoch 0, 1, … where they change; they are always as many."""
        self._examples, self._config = examples, config
        self._seed, self._digest, self._of_epoch = seed, dataset_digest, of_epoch
        batches = batches_per_epoch(len(examples), config.batch_size)
        self.steps_per_epoch = -(-batches // config.gradient_accumulation)
        self.total_steps = self.steps_per_epoch * config.epochs
        self.tokens = sum(example.length for example in examples)
        """Of the first pass."""
        self._order: tuple[int, list[list[int]]] = (-1, [])

    def batches(self, step: int) -> list[list[Example]]:
        """The batches whose gradients make up step 0 … total_steps - 1."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._begin(epoch))
        width = self._config.gradient_accumulation
        chosen = self._order[1][within * width : (within + 1) * width]
        return [[self._examples[index] for index in batch] for batch in chosen]

    def _begin(self, epoch: int) -> list[list[int]]:
        """Take the epoch's examples; the order in which they come."""
        if self._of_epoch is not None:
            found = self._of_epoch(epoch)
            assert len(found) == len(self._examples)
            self._examples = found
        lengths = [example.length for example in self._examples]
        return epoch_batches(lengths, self._config.batch_size, self._seed, epoch, self._digest)

    def ends_after(self, step: int) -> bool:
        """Whether `step` steps are a whole number of passes, at least one."""
        return step > 0 and step % self.steps_per_epoch == 0

    def passed(self, step: int) -> float:
        """Passes done after `step` steps."""
        return round(step / self.steps_per_epoch, 3)
