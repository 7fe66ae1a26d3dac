"""The same input with different labels, inside a batch and against earlier rows."""

from typing import NamedTuple

import numpy as np

from services.ingestion.clusters.rows import Nodes, Rows
from services.ingestion.index.view import NO_LABEL, View
from services.ingestion.near.hashing import Array, Mask


class Conflicts(NamedTuple):
    """By row: whether its input has another label somewhere, and whether it is the later one of such rows."""

    any: Mask
    later: Mask


def label_conflicts(labels: Array, nodes: Nodes, rows: Rows, view: View) -> Conflicts:
    """`labels` are those of the rows that `nodes` are made of. The first label of an input is that of an earlier batch,
    or else of the first row that has one."""
    if not labels.any():
        nothing = np.zeros(len(labels), np.bool_)
        return Conflicts(nothing, nothing)
    highest = np.iinfo(np.int64).max
    low, high = np.full(len(nodes), highest), np.full(len(nodes), -1)
    labelled = np.flatnonzero(labels != NO_LABEL)
    values, of_row = labels[labelled].astype(np.int64), nodes.of_row[labelled]
    first = np.full(len(nodes), -1)
    first[of_row[::-1]] = values[::-1]
    asked, earlier = view.labels(nodes.keys)
    first[asked[::-1]] = earlier[::-1]
    for place, value in ((of_row, values), (asked, earlier.astype(np.int64))):
        np.minimum.at(low, place, value)
        np.maximum.at(high, place, value)
    differ = (low < high)[nodes.of_row] & (labels != NO_LABEL)
    return Conflicts(differ, differ & (labels != first[nodes.of_row]))
