"""A process of a run that does not lead, started by the leader: `python -m services.finetuning.training.distributed.peer`.

On standard input comes one line, the spec as JSON; its end is the end of the leader, and of this process. Why this
process failed goes to standard output.
"""

import os
import sys
import threading

from services.finetuning.spec import EXIT_FAILED, TrainingSpec
from services.finetuning.training.stopping import StopRequest
from shared.config import spin_briefly

INPUT, OUTPUT = 0, 1
READ_BYTES = 1 << 16


def main() -> int:
    """Take part in the run; returns the exit code (see services.finetuning.spec)."""
    stop = StopRequest()
    stop.listen()  # the leader's word counts, not the signal that the whole group gets
    spec = TrainingSpec.from_json(_line())
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    spin_briefly()
    from services.finetuning.training.app import run_training
    from services.finetuning.training.events import Events

    return run_training(spec, Events(OUTPUT), stop)


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(INPUT, READ_BYTES)
        if not data:
            sys.exit(EXIT_FAILED)
        line += data
    return line


def _end_with_the_leader() -> None:
    while os.read(INPUT, READ_BYTES):
        pass
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
