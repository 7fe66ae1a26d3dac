"""Several processes, each with a share of every parameter: a model that no device could hold with its optimizer."""

from collections.abc import Mapping
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from services.finetuning.spec import FailureReason
from services.finetuning.training.distributed.replicated import insist_on_one_start
from services.finetuning.training.distributed.talking import told_by_all, word_of_the_leader
from services.finetuning.training.distributed.team import Backward, Team
from services.finetuning.training.failures import TrainingFailed, is_out_of_memory
from services.finetuning.training.model.sharding import reassemble, shard


class Sharded(Team):
    """Every process computes some batches of a step and takes its share of the step.

    Layers are put together for all processes at once, so all go through the model equally often. Gradients are summed
    round by round and norms share by share: another number of processes gives the same weights but for rounding.
    """

    in_pieces: ClassVar[bool] = True

    def agree(self, word: bool) -> bool:
        return word_of_the_leader(word)

    def place(self, model: PreTrainedModel, precision: str) -> str:
        shard(model, self.device, self.size, precision)
        return "float32"

    def add_up(self, masters: Mapping[str, nn.Parameter], parts: int, backward: Backward) -> float:
        losses: list[float] = []
        for first in range(0, parts, self.size):
            batches = min(self.size, parts - first)
            counts = self.rank < batches
            try:
                loss = backward(first + self.rank if counts else first, counts)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # The others are in the middle of their pass: this one can't say that it wants smaller batches.
                advice = "lower method.batch_size (and raise method.gradient_accumulation)"
                raise TrainingFailed(FailureReason.OUT_OF_MEMORY, f"process {self.rank}: {advice}") from error
            losses += [numbers[0] for numbers in told_by_all([loss])[:batches]]
        return sum(losses)

    def check_start(self, step: int, masters: Mapping[str, nn.Parameter]) -> None:
        insist_on_one_start(self, [step])

    def reassemble(self, model: PreTrainedModel) -> None:
        reassemble(model, self.leads)
