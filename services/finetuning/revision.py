"""Which code trains here: what a checkpoint was made by, and whether another run may go on at it. Torch-free."""

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import services.finetuning.training
import shared.modeling

DIGITS = 12
DECIDING = ("torch", "transformers", "peft", "accelerate", "safetensors")
"""Libraries whose code runs in a step."""


@cache
def code_revision() -> str:
    """Version of the package, and a digest of all source files and library versions that decide a run's bytes.

    Read once: the process goes on with the code that it started with.
    """
    digest = sha256()
    for package in (services.finetuning.training, shared.modeling):
        for folder in package.__path__:
            root = Path(folder)
            for path in sorted(root.rglob("*.py")):
                digest.update(f"{path.relative_to(root)}\0".encode() + sha256(path.read_bytes()).digest())
    for library in DECIDING:
        digest.update(f"{library}=={_version(library)}\n".encode())
    return f"{_version('flywheel')}+{digest.hexdigest()[:DIGITS]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
