"""The obvious ways to answer each task kind, without training a network."""

from collections.abc import Mapping

from benchmarks.quality.baselines import classification
from benchmarks.quality.contenders import Contender

BASELINES: Mapping[str, tuple[Contender, ...]] = {
    "classification": classification.CONTENDERS,
}
