"""What all kinds on an encoder have in common: one batcher, texts to tokens, vectors."""

from collections.abc import Sequence
from typing import ClassVar

from services.inference.engine.batcher import Batcher, BatchLimits, OwnThread, Ticket, bucket_of
from services.inference.engine.encoder import Encodes, Output, encoder_for
from services.inference.engine.interface import Load
from services.inference.engine.tokenising import Encoding, Head, TextEncoder
from services.inference.kinds.base import Resources, model_bytes
from services.inference.kinds.capabilities import Embeds
from shared.modeling.kinds.base import length_limit
from shared.modeling.loading import LoadedModel

SIDE_BY_SIDE_TOKENS = 256  # a batch of short work, at nine tenths of the speed of a large one


class EncoderModel(Embeds):
    """A loaded encoder. Its vectors come from the last hidden states, whatever its own head is for."""

    kind: str
    engine_name = "torch"
    outputs: ClassVar[int | None] = None
    """Numbers that the own head gives; None: as many as there are labels."""

    def __init__(self, loaded: LoadedModel, resources: Resources) -> None:
        self.tokenizer = loaded.tokenizer
        self.labels = loaded.card.labels
        limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
        self._texts = TextEncoder(loaded.tokenizer, limit)
        encoder = self._encoder(loaded, resources)
        self.memory_bytes = model_bytes(loaded.model) + encoder.extra_bytes
        self._compute = resources.compute
        self._batcher = _batcher(encoder, resources)

    @property
    def healthy(self) -> bool:
        return self._batcher.healthy

    def submit_embedding(self, texts: Sequence[str], deadline: float | None) -> Ticket[list[Output]]:
        return self._batcher.submit(self._texts.texts(texts, Head.MEAN), deadline)

    def probe(self) -> None:
        for texts in (["probe"], ["a somewhat longer probe"] * 8):
            self._batcher.submit(self._texts.texts(texts, Head.MEAN), None).wait()
            for row in self._batcher.submit(self._texts.texts(texts), None).wait():
                self._check(row)

    def load(self) -> Load:
        return self._batcher.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        self._batcher.close(grace_seconds)

    def _encoder(self, loaded: LoadedModel, resources: Resources) -> Encodes:
        return encoder_for(loaded.model, int(loaded.tokenizer.pad_token_id))

    def _check(self, row: Output) -> None:
        wanted = self.outputs or len(self.labels) or 1
        if row.shape[-1] != wanted:
            raise ValueError(f"the model gives {row.shape[-1]} scores for {wanted} labels")


def _batcher(encoder: Encodes, resources: Resources) -> Batcher[Encoding, Output]:
    """Where calls may run side by side: a small batch for each processor, of any lengths and at once, since company
    gains little there. On the compute thread: batches of like length."""
    if not encoder.concurrent:
        limits = BatchLimits(waiting_tokens=resources.waiting_tokens)
        return Batcher(encoder, limits, resources.compute, key=lambda text: (text.head, bucket_of(len(text))))
    limits = BatchLimits(
        batch_tokens=SIDE_BY_SIDE_TOKENS,
        budget_seconds=0.0,
        waiting_tokens=resources.waiting_tokens,
        workers=resources.compute.threads,
    )
    return Batcher(encoder, limits, OwnThread(), key=lambda text: text.head)
