"""What a task kind adds to the end-to-end test of all kinds: a file here with `CASES`, by the pipeline's name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.client.answers import Lineage
from shared.client.client import FlywheelClient


@dataclass(frozen=True)
class KindCase:
    """One pipeline on a tiny base that learns in a few seconds."""

    pipeline: str
    """The pipeline file, without `name` and `base`; `new_rows` at most as many as there are rows."""
    base: Callable[[Path], Path | str]
    """Makes the base model in a folder that does not exist yet, or names one."""
    rows: Sequence[Mapping[str, Any]]
    """As a product sends them; at least 20 of them fall on the test side."""
    ask: Callable[[FlywheelClient, str], Lineage]
    """Asks the champion of the pipeline of this name, asserts what it answers, and returns the answer's lineage."""
