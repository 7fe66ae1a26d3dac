"""Embedding: a text as a vector, the mean of its last hidden states."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoModel, PreTrainedModel

from shared.modeling.kinds.base import ServedKind
from shared.modeling.kinds.heads import load_with_head


class Embedding(ServedKind):
    """Mean pooling over all tokens, special ones included (Reimers and Gurevych 2019)."""

    name = "embedding"

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        return load_with_head(AutoModel, folder, self.name, {})


def normalise(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector at length 1; one of zeros stays."""
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def cosines(query: NDArray[np.float32], vectors: Sequence[NDArray[np.float32]]) -> list[float]:
    """Cosine of the angle between the query and each vector, -1 to 1."""
    found: list[float] = (np.stack([normalise(vector) for vector in vectors]) @ normalise(query)).tolist()
    return found
