"""The side of a new cluster."""

import numpy as np
import numpy.typing as npt

from services.ingestion.near.hashing import Array, Mask, Words, mixed
from services.ingestion.near.joining import runs_of
from shared.pipelines.dividing import Splits
from shared.rows.splits import SPLITS

TRAIN, VALIDATION, TEST = (SPLITS.index(side) for side in ("train", "validation", "test"))


def fractions_of(clusters: Words) -> npt.NDArray[np.float64]:
    """A cluster is called after the first 64 bits of its founder's key, which are evenly spread."""
    return np.asarray(clusters.astype(np.float64) / 2.0**64)


def sides_of(clusters: Words, labels: Array, times: npt.NDArray[np.float64], splits: Splits) -> Array:
    """Sides, as places in SPLITS, of clusters that are new in a batch, given their founders' labels and newest times.

    Test is always by hash (shared.rows.splits). So is validation, unless it is stratified, when of each label those
    with the smallest hashes are taken, or by time, when the newest are. How many that is comes from the share; what
    is left over of a whole cluster is decided by a hash as well, so that the share comes out over many small batches.
    All of it is a pure function of the set of clusters, in whatever order they come.
    """
    fractions = fractions_of(clusters)
    found = np.full(len(clusters), TRAIN, np.uint8)
    found[fractions < splits.test + splits.validation] = VALIDATION
    test = fractions < splits.test
    if splits.stratify:
        found[:] = np.where(_smallest(labels, fractions, clusters, ~test, splits), VALIDATION, TRAIN)
    elif splits.by_time is not None:
        age = -np.where(np.isnan(times), -np.inf, times)
        found[:] = np.where(_smallest(np.zeros_like(labels), age, clusters, ~test, splits), VALIDATION, TRAIN)
    found[test] = TEST
    return found


def _smallest(
    strata: Array, values: npt.NDArray[np.float64], clusters: Words, candidates: Mask, splits: Splits
) -> Mask:
    """Of the candidates of each stratum, validation's share of those with the smallest values."""
    share = splits.validation / (1 - splits.test)
    chosen = np.zeros(len(clusters), np.bool_)
    places = np.flatnonzero(candidates)
    order = places[np.lexsort((clusters[places], values[places], strata[places]))]
    starts, lengths = runs_of(strata[order].astype(np.int64))
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        stratum = order[start : start + length]
        left_over = mixed(clusters[stratum].min(keepdims=True) ^ np.uint64(strata[stratum[0]]))
        chosen[stratum[: int(share * length + fractions_of(left_over)[0])]] = True
    return chosen
