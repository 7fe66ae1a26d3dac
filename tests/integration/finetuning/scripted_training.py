"""A fake training process, for endings that a real one has only by accident. Run by path, without torch.

It speaks the protocol of services.finetuning.training.standby and then behaves as its first argument says.
"""

import json
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

    def finish(self) -> int:
        self.step(STEPS)
        output = self.spec.output_dir
        output.mkdir(parents=True, exist_ok=True)
        (output / "model.safetensors").write_bytes(self.spec.run.encode())
        method, labels = self.spec.method.name, self.spec.labels or ()
        card = ModelCard("classification", method, labels, "base", "b", 64, "w", "", self.spec.run, "d", "float32")
        card.write(output)
        self.say("finished", path=str(output), weights_digest="w", adapter_digest="", metrics={"accuracy": 0.5})
        return EXIT_FINISHED

    def wait_for_sigterm(self, answer: int | None) -> int:
        """Ends with `answer` on SIGTERM; never when it is None."""
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
        self.step(1)
        while not stop or answer is None:
            time.sleep(0.01)
        return answer


def play(behaviour: str, script: Script) -> int:
    script.begin()
    match behaviour:
        case "finish":
            return script.finish()
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
