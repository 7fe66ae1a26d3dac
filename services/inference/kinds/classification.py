"""Labels for texts."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from services.inference.engine.batcher import Batcher, BatchLimits, Ticket
from services.inference.engine.encoder import Encoder
from services.inference.engine.interface import Load
from services.inference.kinds.base import Resources, model_bytes
from shared.modeling.kinds.base import length_limit
from shared.modeling.kinds.classification import encode_texts
from shared.modeling.loading import LoadedModel


class Classifier:
    """Labels texts. Texts are cut on the right at the length the model was trained and judged with."""

    kind = "classification"
    engine_name = "torch"

    def __init__(
        self,
        batcher: Batcher,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        memory_bytes: int,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self._batcher = batcher
        self._max_length = max_length

    def submit(self, texts: Sequence[str], deadline: float | None) -> Ticket:
        ids, _ = encode_texts(self.tokenizer, texts, self._max_length)
        return self._batcher.submit(ids, deadline)

    def probe(self) -> None:
        for texts in (["probe"], ["a somewhat longer probe"] * 8):
            for row in self.submit(texts, deadline=None).wait():
                if len(row) != len(self.labels):
                    raise ValueError(f"the model gives {len(row)} scores for {len(self.labels)} labels")

    def load(self) -> Load:
        return self._batcher.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        self._batcher.close(grace_seconds)


def serve(loaded: LoadedModel, resources: Resources) -> Classifier:
    encoder = Encoder(loaded.model, int(loaded.tokenizer.pad_token_id))
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    batcher = Batcher(encoder, BatchLimits(waiting_tokens=resources.waiting_tokens), resources.compute)
    return Classifier(batcher, loaded.tokenizer, loaded.card.labels, limit, model_bytes(loaded.model))
