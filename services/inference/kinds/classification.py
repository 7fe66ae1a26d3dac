"""Labels for texts and for pairs of texts."""

from collections.abc import Sequence

import numpy as np

from services.inference.engine.attribution import Explainer, Piece
from services.inference.engine.batcher import Ticket
from services.inference.engine.encoder import Encodes, Output
from services.inference.engine.precision import label_encoder
from services.inference.kinds.base import Resources
from services.inference.kinds.encoders import EncoderModel
from shared.modeling.loading import LoadedModel


class Classifier(EncoderModel):
    """Labels texts. Texts are cut on the right at the length the model was trained and judged with."""

    kind = "classification"

    def __init__(self, loaded: LoadedModel, resources: Resources) -> None:
        super().__init__(loaded, resources)
        self._explainer = Explainer(loaded.model, self._texts, resources.compute)

    def submit(self, texts: Sequence[str], deadline: float | None) -> Ticket[list[list[float]]]:
        """Probabilities in the order of `labels`, one row a text."""
        return self._batcher.submit(self._texts.texts(texts), deadline).then(_all_probabilities)

    def submit_pairs(self, pairs: Sequence[tuple[str, str]], deadline: float | None) -> Ticket[list[list[float]]]:
        """As `submit`, for pairs of texts that are judged together."""
        return self._batcher.submit(self._texts.pairs(pairs), deadline).then(_all_probabilities)

    def explain(
        self, inputs: Sequence[str | tuple[str, str]], labels: Sequence[int], deadline: float
    ) -> list[list[Piece]]:
        """Which words spoke for the label of each text or pair. Raises DeadlineExceeded, FailedPrecondition."""
        return [self._explainer.explain(one, label, deadline) for one, label in zip(inputs, labels, strict=True)]

    def _encoder(self, loaded: LoadedModel, resources: Resources) -> Encodes:
        return label_encoder(loaded.model, int(loaded.tokenizer.pad_token_id), resources.compute)


def probabilities(logits: Output) -> Output:
    """Softmax over the last axis, in float64 and back."""
    wide = logits.astype(np.float64)
    weights = np.exp(wide - wide.max(-1, keepdims=True))
    found: Output = (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
    return found


def _all_probabilities(rows: list[Output]) -> list[list[float]]:
    found: list[list[float]] = probabilities(np.stack(rows)).tolist() if rows else []
    return found
