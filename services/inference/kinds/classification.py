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
from shared.pipelines.options import Options


class Classifier(EncoderModel):
    """Labels texts. Texts are cut on the right at the length the model was trained and judged with.

    `threshold` is the least probability of a label that is given, of a model that gives any number; else None.
    """

    kind = "classification"

    def __init__(self, loaded: LoadedModel, resources: Resources) -> None:
        self.threshold = threshold_of(loaded)
        super().__init__(loaded, resources)
        self._explainer = Explainer(loaded.model, self._texts, resources.compute)

    def submit(self, texts: Sequence[str], deadline: float | None) -> Ticket[list[list[float]]]:
        """Probabilities in the order of `labels`, one row a text; they sum to 1 unless there is a threshold."""
        return self._batcher.submit(self._texts.texts(texts), deadline).then(self._probabilities)

    def submit_pairs(self, pairs: Sequence[tuple[str, str]], deadline: float | None) -> Ticket[list[list[float]]]:
        """As `submit`, for pairs of texts that are judged together."""
        return self._batcher.submit(self._texts.pairs(pairs), deadline).then(self._probabilities)

    def explain(
        self, inputs: Sequence[str | tuple[str, str]], labels: Sequence[int], deadline: float
    ) -> list[list[Piece]]:
        """Which words spoke for the label of each text or pair. Raises DeadlineExceeded, FailedPrecondition."""
        return [self._explainer.explain(one, label, deadline) for one, label in zip(inputs, labels, strict=True)]

    def given(self, row: Sequence[float]) -> list[str]:
        """Of a text's probabilities, the labels that the model gives: the likeliest, or all that reach the threshold."""
        if self.threshold is None:
            return [self.labels[max(range(len(row)), key=row.__getitem__)]]
        return [label for label, chance in zip(self.labels, row, strict=True) if chance >= self.threshold]

    def _probabilities(self, rows: list[Output]) -> list[list[float]]:
        make = probabilities if self.threshold is None else own_probabilities
        found: list[list[float]] = make(np.stack(rows)).tolist() if rows else []
        return found

    def _encoder(self, loaded: LoadedModel, resources: Resources) -> Encodes:
        if self.threshold is not None:  # precision is about the lead of the best label over the others
            return super()._encoder(loaded, resources)
        return label_encoder(loaded.model, int(loaded.tokenizer.pad_token_id), resources.compute)


def probabilities(logits: Output) -> Output:
    """Softmax over the last axis, in float64 and back."""
    wide = logits.astype(np.float64)
    weights = np.exp(wide - wide.max(-1, keepdims=True))
    found: Output = (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
    return found


def own_probabilities(logits: Output) -> Output:
    """Sigmoid of each logit, in float64 and back."""
    found: Output = (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)
    return found


def threshold_of(loaded: LoadedModel) -> float | None:
    """None for a model that gives one label a text."""
    options = Options(**loaded.card.options)
    return options.threshold if options.multi_label else None
