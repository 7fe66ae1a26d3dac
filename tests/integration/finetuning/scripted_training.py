"""A fake training process, for endings that a real one has only by accident. Run by path, without torch.

It speaks the protocol of services.finetuning.training.standby and then behaves as its first argument says.
"""

import json
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from shared.modeling.card import ModelCard

STEPS = 3


class Script:
    """What the process says and leaves behind."""

    def __init__(self, spec: TrainingSpec, events: int) -> None:
        self.spec, self._events = spec, events
        self._counter = spec.work_dir / "attempts"
        self.attempt = int(self._counter.read_text()) + 1 if self._counter.exists() else 1
        self._counter.write_text(str(self.attempt))

    def say(self, event: str, **values: object) -> None:
        os.write(self._events, json.dumps({"event": event, **values}).encode() + b"\n")

    def begin(self) -> None:
        self.say("started", total_steps=STEPS, start_step=0, rows=20, tokens=100)

    def step(self, step: int) -> None:
        self.say("progress", step=step, total_steps=STEPS, loss=1.0 / step, tokens_per_second=9.0, eta_seconds=1.0)

    def finish(self, metrics: dict[str, float] | None = None) -> int:
        self.step(STEPS)
        output = self.spec.output_dir
        output.mkdir(parents=True, exist_ok=True)
        (output / "model.safetensors").write_bytes(self.spec.run.encode())
        method, labels = self.spec.method.name, self.spec.labels or ()
        card = ModelCard("classification", method, labels, "base", "b", 64, "w", "", self.spec.run, "d", "float32")
        card.write(output)
        self.say(
            "finished", path=str(output), weights_digest="w", adapter_digest="", metrics=metrics or {"accuracy": 0.5}
        )
        return EXIT_FINISHED

    def measure(self) -> int:
        """One validation an epoch; the best learning rate is 3e-4, and more epochs help."""
        rate, epochs = self.spec.method.learning_rate, self.spec.method.epochs
        for epoch in range(1, epochs + 1):
            loss = abs(math.log10(rate / 3e-4)) + 1 / epoch
            self.say("validation", step=epoch, loss=loss, metrics={"loss": loss, "accuracy": 1 / (1 + loss)})
        return self.finish({"loss": loss, "accuracy": 1 / (1 + loss)})

    def wait_for_sigterm(self, answer: int | None) -> int:
        """Ends with `answer` on SIGTERM; never when it is None."""
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
        self.step(1)
        while not stop or answer is None:
            time.sleep(0.01)
        return answer

    def hold_at(self, moment: str) -> int:
        """Stays at a moment of its run until it is asked to stop, and then does what a real one does there."""
        stop: list[int] = []
        if moment != "starting":
            signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
            self.begin()
            self.step(1)
        if moment == "checkpoint":
            (self.spec.work_dir / "checkpoints" / ".step-00000001.partial").mkdir(parents=True)
        (self.spec.work_dir / "held").touch()
        while not stop:
            time.sleep(0.01)
        return self.finish() if moment == "saving" else EXIT_DRAINED


def play(behaviour: str, script: Script) -> int:
    if behaviour.startswith("hold-at-") and script.attempt == 1:
        return script.hold_at(behaviour.removeprefix("hold-at-"))
    script.begin()
    match behaviour:
        case "frugal" if (script.spec.budget_steps or STEPS) < STEPS:
            script.step(1)
            script.say("failed", reason="BUDGET", message="budget used up at step 1 of 3")
            return EXIT_FAILED
        case "frugal" | "hold-at-starting" | "hold-at-training" | "hold-at-checkpoint" | "hold-at-validation":
            return script.finish()
        case "other-revision" if not script.spec.any_revision:
            script.say("failed", reason="REVISION", message="made by another revision")
            return EXIT_FAILED
        case "other-revision":
            return script.finish()
        case "finish":
            return script.finish()
        case "measure":
            return script.measure()
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash-once":
            if script.attempt == 1:
                sys.exit("segmentation fault, says the library")
            return script.finish()
        case "fail-data":
            script.say("failed", reason="BAD_DATA", message="the train split is empty")
            return EXIT_FAILED
        case "fail-disk":
            script.say("failed", reason="DISK_FULL", message="no space left")
            return EXIT_FAILED
        case "silent":
            time.sleep(600)
        case "drain":
            return script.wait_for_sigterm(EXIT_DRAINED)
        case "drain-once":
            return script.finish() if script.attempt > 1 else script.wait_for_sigterm(EXIT_DRAINED)
        case "deaf":
            return script.wait_for_sigterm(None)
        case "gated":
            while not (script.spec.work_dir / "gate").exists():
                script.step(1)
                time.sleep(0.05)
            return script.finish()
        case "slow":
            for _ in range(200):
                script.step(1)
                time.sleep(0.05)
            return script.finish()
    raise AssertionError(behaviour)


def main(behaviour: str, descriptor: int) -> int:
    with socket.socket(fileno=descriptor) as channel:
        path, descriptors, _, _ = socket.recv_fds(channel, 4096, 2)
    if not path:
        return 0
    return play(behaviour, Script(TrainingSpec.from_json(Path(path.decode()).read_bytes()), descriptors[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[sys.argv.index("--socket") + 1])))
