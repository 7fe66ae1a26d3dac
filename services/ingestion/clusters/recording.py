"""The segment of a batch whose rows have been decided about."""

import numpy as np

from services.ingestion.clusters.resolving import Resolved
from services.ingestion.clusters.rows import Rows
from services.ingestion.index.deriving import row_columns, set_columns
from services.ingestion.index.segment import Segment, made
from services.ingestion.near.bands import Bands


def segment_of(rows: Rows, found: Resolved, source: str, bands: Bands | None) -> Segment:
    """What the index remembers of the accepted rows."""
    kept = np.flatnonzero(found.accepted)
    columns = row_columns(rows.ids[kept], rows.keys[kept], found.clusters[kept], found.sides[kept], rows.labels[kept])
    grouped = kept[rows.groups[kept] != 0]
    groups, first = np.unique(rows.groups[grouped], return_index=True)
    columns |= {
        "groups": groups,
        "group_clusters": found.clusters[grouped[first]],
        "group_sides": found.sides[grouped[first]],
        "links": found.links,
    }
    if bands:
        columns |= set_columns(found.sets, found.clusters[found.set_rows], found.sides[found.set_rows])
    return made([source], bands, columns, found.sets, found.entries)
