"""Peers without a server: a program of theirs has the model and plays the scripts itself, no client beside it."""

import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.processes import ProcessGroup
from benchmarks.peers.environments import exported_for_openvino, python_of

PROGRAMS = "benchmarks.peers.programs"


def start_openvino(model: Path, folder: Path, threads: int, weights: str = "fp16") -> Contender:
    """GenAI's continuous batching. Raises BenchmarkFailed where it is not installed or fails to start."""
    exported = exported_for_openvino(model, weights)
    return _start("openvino", [str(python_of("openvino")), "-m", f"{PROGRAMS}.openvino", str(exported)], folder)


def start_static_batch(model: Path, folder: Path, threads: int) -> Contender:
    """transformers' `generate` on all prompts of a script as one batch."""
    return _start("static_batch", _transformers(model, "static", threads), folder)


def start_generate_batch(model: Path, folder: Path, threads: int) -> Contender:
    """transformers' continuous batching, `generate_batch`."""
    return _start("generate_batch", _transformers(model, "continuous", threads), folder)


def _transformers(model: Path, how: str, threads: int) -> list[str]:
    return [sys.executable, "-m", f"{PROGRAMS}.transformers", str(model), how, str(threads)]


def _start(name: str, command: list[str], folder: Path) -> Contender:
    with ExitStack() as started:
        program = ProcessGroup(command, folder / f"{name}.log")
        started.callback(program.stop)
        contender = Contender(name, program)
        started.pop_all()
    return contender
