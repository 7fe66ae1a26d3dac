"""A training process that does its imports before it knows its spec: `… .training.standby --socket N [--quiet]`.

On the socket comes one message: the path of SPEC.json, with two descriptors, for events and of a lock that is held
until this process ends. The socket's end without one is the end of the process.
"""

import argparse
import os
import socket
import sys
import threading

from services.finetuning.training.__main__ import main as train
from shared.config import spin_briefly

QUIET_PRIORITY = 10
PATH_BYTES = 4096


def main(arguments: list[str]) -> int:
    """Wait for a spec and run it; returns the exit code (see services.finetuning.spec)."""
    parser = argparse.ArgumentParser(prog="services.finetuning.training.standby", description=__doc__)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--quiet", action="store_true", help="import at low priority")
    given = parser.parse_args(arguments)
    # The priority is a thread's own, and only root could raise it again: the main thread keeps the usual one.
    spin_briefly()
    importing = threading.Thread(target=_import_everything, args=(QUIET_PRIORITY if given.quiet else 0,))
    importing.start()
    importing.join()
    with socket.socket(fileno=given.socket) as channel:
        spec, descriptors, _, _ = socket.recv_fds(channel, PATH_BYTES, 2)
    if not spec:
        return 0
    return train([spec.decode(), "--events-fd", str(descriptors[0])])


def _import_everything(priority: int) -> None:
    if priority:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), priority)
    import peft  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer  # noqa: F401

    import services.finetuning.training.app  # noqa: F401


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
