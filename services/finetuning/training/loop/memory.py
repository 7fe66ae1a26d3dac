"""What to do when memory runs out: compute fewer rows at once and add their gradients up, which gives the same step."""

import gc
from collections.abc import Sequence

import torch

from services.finetuning.spec import FailureReason
from services.finetuning.training.failures import TrainingFailed
from shared.modeling.kinds.base import Example, Kind


def cut(batches: Sequence[Sequence[Example]], micro_batch: int | None) -> list[Sequence[Example]]:
    """The batches in parts of at most so many rows; None: as they are."""
    if micro_batch is None:
        return list(batches)
    return [batch[start : start + micro_batch] for batch in batches for start in range(0, len(batch), micro_batch)]


def narrower(kind: Kind, step: int, failed: Sequence[Example]) -> int:
    """Half as many rows as there was no memory for in step 0 …; raises TrainingFailed (OUT_OF_MEMORY) for a single row,
    or where rows of a batch depend on one another."""
    where = f"out of memory at step {step + 1}"
    if len(failed) == 1:
        raise TrainingFailed(
            FailureReason.OUT_OF_MEMORY,
            f"{where}, for row {failed[0].row_ids[0]} alone, of {failed[0].length} tokens: lower method.max_length",
        )
    if kind.whole_batches:
        raise TrainingFailed(
            FailureReason.OUT_OF_MEMORY,
            f"{where}: {len(failed)} rows don't fit, and kind {kind.name} compares the rows of a batch with one "
            "another, so that a smaller one is another: lower method.batch_size or method.max_length",
        )
    return len(failed) // 2


def forget_garbage() -> None:
    """Give back what a failed computation held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
