"""Why a run fails: one exception with a stable reason, and what other exceptions mean."""

import errno
import re

from services.finetuning.spec import FailureReason
from shared.errors import DataCorrupted, FlywheelError, InvalidArgument, NotFound, RetryableError
from shared.modeling.memory import is_out_of_memory as is_out_of_memory

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class TrainingFailed(Exception):
    """Ends the run; `reason` is for programs, the message for people."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def explain(error: Exception) -> TrainingFailed:
    """What an exception that reached the top means."""
    if isinstance(error, TrainingFailed):
        return error
    if _error_number(error) in FULL_DISK:
        what = getattr(error, "filename", None) or "a file"
        return TrainingFailed(FailureReason.DISK_FULL, f"no space left while writing {what}")
    if is_out_of_memory(error):
        advice = "lower method.batch_size (and raise method.gradient_accumulation) or method.max_length"
        return TrainingFailed(FailureReason.OUT_OF_MEMORY, f"out of memory: {advice}")
    if isinstance(error, NotFound | RetryableError):
        return TrainingFailed(FailureReason.BASE_MISSING, str(error))
    if isinstance(error, InvalidArgument) and "row_id" not in error.metadata:
        return TrainingFailed(FailureReason.BAD_SPEC, str(error))
    if isinstance(error, InvalidArgument | DataCorrupted):
        return TrainingFailed(FailureReason.BAD_DATA, str(error))
    what = str(error) if isinstance(error, FlywheelError) else f"{type(error).__name__}: {error}"
    return TrainingFailed(FailureReason.INTERNAL, what)


def _error_number(error: Exception) -> int | None:
    """What the system said; libraries in Rust, which write weights and tokenizers, pass it on in words only."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)$", str(error))
    return int(found[1]) if found else None
