"""A dataset that is only an index: batches of texts come in one after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from services.ingestion.clusters.recording import segment_of
from services.ingestion.clusters.resolving import Resolved, resolve
from services.ingestion.clusters.rows import NO_SIDE, Outcome, Rows
from services.ingestion.index.indexes import SEED
from services.ingestion.index.view import ACCEPTED, View
from services.ingestion.near.bands import Bands
from services.ingestion.near.keys import key_digest
from services.ingestion.near.shingles import shingled
from services.ingestion.near.sketches import halves
from shared.pipelines.data import Data
from shared.rows.base import loosened
from shared.rows.splits import SPLITS


@dataclass(frozen=True)
class Example:
    text: str
    label: int = 0
    group: str = ""
    official: str = ""
    time: float = float("nan")


@dataclass
class Dataset:
    """What was accepted so far, by text, with its side and cluster."""

    data: Data
    folder: Path
    view: View = field(init=False)
    sides: dict[tuple[str, int], str] = field(default_factory=dict)
    clusters: dict[tuple[str, int], int] = field(default_factory=dict)
    groups: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        near = self.data.near_duplicates
        self.view = View(Bands.for_threshold(near.threshold, SEED) if near.enabled else None, self.folder)

    def add(self, examples: Sequence[Example]) -> Resolved:
        rows = columns_of(examples, near=self.view.bands is not None)
        found = resolve(rows, self.view, self.data)
        change = self.view.change + 1
        source = f"batch-{change}"
        states = {**self.view.states, source: ACCEPTED}
        segment = segment_of(rows, found, source, self.view.bands)
        self.view = self.view.with_batches(change, states, [(change, segment)])
        for place in np.flatnonzero(found.outcomes == Outcome.ACCEPTED).tolist():
            one = examples[place].text, examples[place].label
            assert one not in self.sides, "an accepted row is never accepted again"
            self.sides[one] = SPLITS[found.sides[place]]
            self.clusters[one] = int(found.clusters[place])
            self.groups[one] = examples[place].group
        return found


def columns_of(examples: Sequence[Example], *, near: bool) -> Rows:
    keys = [loosened(one.text) for one in examples]
    ids = [sha256(f"{one.text}\0{one.label}".encode()).digest()[:16] for one in examples]
    groups = [int.from_bytes(sha256(one.group.encode()).digest()[:8]) if one.group else 0 for one in examples]
    return Rows(
        halves(ids),
        halves([key_digest("tests", key) for key in keys]),
        np.array([one.label for one in examples], np.uint32),
        np.array(groups, np.uint64),
        np.array([SPLITS.index(one.official) if one.official else NO_SIDE for one in examples], np.uint8),
        np.array([one.time for one in examples], np.float64),
        shingled(keys) if near else None,
    )
