"""Training processes that start fast: forked from a server that has the libraries imported.

Each is a real process of its own, and dies of a real SIGKILL.
"""

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path


def start_training(spec: Path, events: Path) -> BaseProcess:
    """Start `python -m services.finetuning.training SPEC` in effect, its events going into a file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["services.finetuning.training.app", "peft"])
    process = context.Process(target=_train, args=(str(spec), str(events)), daemon=True)
    process.start()
    return process


def _train(spec: str, events: str) -> None:
    from services.finetuning.training.__main__ import main

    descriptor = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.exit(main([spec, "--events-fd", str(descriptor)]))
