"""Which batches hold a row, or rows of a cluster, without opening their parts."""

from collections.abc import Collection

import numpy as np

from services.ingestion.index.segment import Segment
from services.ingestion.index.view import View
from services.ingestion.near.hashing import Array

HEAD = 16
"""Characters of a row id in its first 64 bits."""


def batches_of_ids(view: View, head: str) -> set[str]:
    """Batches with a row whose id begins so: at least these, for only the first 16 characters are compared."""
    first, last = (np.uint64(int(head[:HEAD].ljust(HEAD, filler), 16)) for filler in "0f")
    found: set[str] = set()
    for segment in view.segments:
        digests = segment["digests"]
        places = slice(np.searchsorted(digests, first, "left"), np.searchsorted(digests, last, "right"))
        found |= _batches(segment, segment["digest_sources"][places])
    return found


def batches_of_clusters(view: View, clusters: Collection[str]) -> set[str]:
    """Batches with rows of these clusters (16 hex digits each)."""
    wanted = np.array([int(cluster, 16) for cluster in clusters], np.uint64)
    found: set[str] = set()
    for segment in view.segments:
        found |= _batches(segment, segment["key_sources"][np.isin(segment["key_clusters"], wanted)])
    return found


def batches_with_ids(view: View) -> set[str]:
    """Batches of which the index has any row. The segment of one whose files are damaged has none."""
    found: set[str] = set()
    for segment in view.segments:
        found |= _batches(segment, segment["digest_sources"])
    return found


def _batches(segment: Segment, sources: Array) -> set[str]:
    return {segment.sources[source].partition(":")[0] for source in np.unique(sources).tolist()}
