"""Environments of the peers: what is pinned beside this file, built once under a cache folder.

The folder is $FLYWHEEL_PEERS, or flywheel-peers in the user's cache.
"""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from benchmarks.figures import BenchmarkFailed

PEERS = ("vllm", "openvino", "ingestion")
TORCH = "torch==2.13.0"
DONE = "flywheel-installed"


def peers_folder() -> Path:
    return Path(os.environ.get("FLYWHEEL_PEERS") or Path.home() / ".cache" / "flywheel-peers").absolute()


def requirements_of(peer: str) -> Path:
    return Path(__file__).parent / f"{peer}.txt"


def python_of(peer: str) -> Path:
    """The interpreter of a whole environment. Raises BenchmarkFailed where there is none."""
    python = peers_folder() / peer / "bin" / "python"
    if not _is_whole(peer):
        raise BenchmarkFailed(f"{peer} is not installed: run `python -m benchmarks.peers {peer}`")
    return python


def install(peer: str) -> bool:
    """Builds the environment; False when it was there. Raises CalledProcessError when a requirement can't be had.

    Each file lists everything, so nothing is resolved; torch, where it is listed, comes first and by itself, because the
    registry has a build of it for machines without a GPU that is not called by the name that vLLM asks for.
    """
    if _is_whole(peer):
        return False
    folder = peers_folder() / peer
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if _is_whole(peer):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        requirements = str(requirements_of(peer))
        if TORCH in requirements_of(peer).read_text().splitlines():
            subprocess.run([*pip, TORCH, "--constraint", requirements], check=True)
        subprocess.run([*pip, "--no-deps", "--requirement", requirements], check=True)
        (folder / DONE).write_text(_digest(peer))
    return True


def exported_for_openvino(model: Path, weights: str) -> Path:
    """The model in OpenVINO's format, exported once. Raises BenchmarkFailed when that is impossible."""
    python = python_of("openvino")
    target = peers_folder() / "models" / f"{model.name}-openvino-{weights}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            aside = target.with_suffix(".part")
            shutil.rmtree(aside, ignore_errors=True)
            command = [
                *(str(python.parent / "optimum-cli"), "export", "openvino", "--model", str(model)),
                *("--task", "text-generation-with-past", "--weight-format", weights, str(aside)),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise BenchmarkFailed(f"the export for OpenVINO failed: {done.stderr[-600:]}")
            aside.rename(target)
    return target


def _is_whole(peer: str) -> bool:
    done = peers_folder() / peer / DONE
    return done.is_file() and done.read_text() == _digest(peer)


def _digest(peer: str) -> str:
    return sha256(requirements_of(peer).read_bytes()).hexdigest()
