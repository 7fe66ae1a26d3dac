"""Checkpoint folders as files: their names, and whether they are whole. Torch-free."""

import json
from collections.abc import Iterator
from pathlib import Path

from shared.storage.digests import file_digest

MANIFEST = "manifest.json"


def checkpoint_name(step: int) -> str:
    """Names sort as steps do."""
    return f"step-{step:08d}"


def newest_first(folder: Path) -> Iterator[Path]:
    """The checkpoints in a folder, damaged ones among them."""
    return iter(sorted(folder.glob("step-*"), reverse=True))


def verifies(path: Path) -> bool:
    """Whether a checkpoint has exactly the files that its manifest lists, each with its SHA-256."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        found = {child.name: file_digest(child) for child in path.iterdir() if child.name != MANIFEST}
    except (OSError, ValueError):
        return False
    return bool(found) and found == manifest
