"""One file for each finished cell of the table, named after all that decided it: a run that stopped goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from services.evaluation.kinds.base import Outputs

FORMAT = 1
"""Raised when the code of a contender changes what it answers."""


@dataclass(frozen=True)
class Cell:
    """One contender's answer with one seed."""

    outputs: Outputs
    figures: dict[str, float]
    seconds: float
    """Wall time, loading and answering included."""


class Cells:
    """Cells in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, study: str, contender: str, seed: int, decided_by: Mapping[str, Any]) -> Path:
        """The file of a cell; `decided_by` names rows, settings and how answers are scored."""
        inputs = json.dumps([FORMAT, study, contender, seed, decided_by], sort_keys=True)
        digest = sha256(inputs.encode()).hexdigest()[:16]
        return self._folder / study / f"{contender}-{seed}-{digest}.json"

    def read(self, path: Path) -> Cell | None:
        """The cell, or None when it is not finished. A file that can't be read counts as not finished."""
        try:
            return Cell(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, path: Path, cell: Cell) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".partial")
        aside.write_text(json.dumps(asdict(cell)), encoding="utf-8")
        aside.replace(path)
