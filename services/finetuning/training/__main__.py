"""The training process of one run: `python -m services.finetuning.training SPEC.json [--events-fd N]`."""

import argparse
import sys
from pathlib import Path

from services.finetuning.spec import EXIT_FAILED, FailureReason, TrainingSpec
from services.finetuning.training.events import Events
from services.finetuning.training.stopping import StopRequest
from shared.config import spin_briefly


def main(arguments: list[str]) -> int:
    """Run the spec; returns the exit code (see services.finetuning.spec)."""
    parser = argparse.ArgumentParser(prog="services.finetuning.training", description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--events-fd", type=int, default=1, help="file descriptor for events (default: stdout)")
    given = parser.parse_args(arguments)
    stop, events = StopRequest(), Events(given.events_fd)
    stop.listen()  # before the heavy imports, so that a signal during them is not lost
    try:
        spec = TrainingSpec.from_json(given.spec.read_bytes())
    except (OSError, ValueError) as error:
        events.send("failed", reason=FailureReason.BAD_SPEC, message=str(error))
        return EXIT_FAILED

    spin_briefly()
    from services.finetuning.training.app import run_training

    return run_training(spec, events, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
