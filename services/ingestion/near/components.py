"""Connected components, for millions of nodes at a time."""

import numpy as np

from services.ingestion.near.hashing import Places


def connected(count: int, first: Places, second: Places) -> Places:
    """For nodes 0 to count - 1 and edges between them: the smallest node of each one's component.

    Every round hangs the larger root of an edge under the smaller, then flattens the trees.
    """
    roots = np.arange(count)
    while True:
        ours, theirs = roots[first], roots[second]
        apart = ours != theirs
        if not apart.any():
            return roots
        first, second, ours, theirs = first[apart], second[apart], ours[apart], theirs[apart]
        np.minimum.at(roots, np.maximum(ours, theirs), np.minimum(ours, theirs))
        while True:
            above = roots[roots]
            if np.array_equal(above, roots):
                break
            roots = above
