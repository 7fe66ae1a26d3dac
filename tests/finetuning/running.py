"""Runs of the training process inside this one, with nothing written but what training writes itself."""

import json
import os
import threading

from services.finetuning.spec import TrainingSpec
from services.finetuning.training.app import run_training
from services.finetuning.training.events import Events
from services.finetuning.training.stopping import StopRequest
from tests.support.training_runs import Row


def run_over_a_pipe(spec: TrainingSpec, stop: StopRequest | None = None) -> tuple[int, list[Row]]:
    """Exit code and events, as a supervisor hears them."""
    reader, writer = os.pipe()
    heard: list[bytes] = []
    with os.fdopen(reader, "rb") as pipe:
        listening = threading.Thread(target=lambda: heard.append(pipe.read()))
        listening.start()
        try:
            code = run_training(spec, Events(writer), stop or StopRequest())
        finally:
            os.close(writer)
            listening.join()
    return code, [json.loads(line) for line in heard[0].splitlines()]
