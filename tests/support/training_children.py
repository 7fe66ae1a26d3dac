"""Training processes that start fast: forked from a server that has the libraries imported.

Each is a real process of its own, and dies of a real SIGKILL.
"""

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = [
    "services.finetuning.training.app",
    "peft",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
]


def forking() -> ForkServerContext:
    """Starts processes that have PRELOADED imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def start_training(spec: Path, events: Path) -> BaseProcess:
    """Start `python -m services.finetuning.training SPEC` in effect, its events going into a file."""
    process = forking().Process(target=_train, args=(str(spec), str(events)), daemon=True)
    process.start()
    return process


def _train(spec: str, events: str) -> None:
    from services.finetuning.training.__main__ import main

    descriptor = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.exit(main([spec, "--events-fd", str(descriptor)]))
