"""Encoder models over batches of texts: what their own head gives, or a vector for each text."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from services.inference.engine.bert import PackedBert
from services.inference.engine.native.encoder import NativeEncoder
from services.inference.engine.tokenising import TYPES, Encoding, Head
from shared.modeling.kinds.base import mask_of, pad
from shared.modeling.methods.virtual import VirtualTokens

Output = NDArray[np.float32]


class Encodes(Protocol):
    """One float32 array a text, all of one `Head`. The own head's is (labels,) where it judges whole texts,
    (tokens, outputs) where it judges tokens: for question answering the outputs are start and end. The mean's
    is (width,). Raises ArithmeticError when the model gives values that are not finite."""

    extra_bytes: int
    """Of weights beside the model's own."""
    concurrent: bool
    """Whether many threads may call at once, each computing alone; else calls belong on the compute thread."""

    def __call__(self, texts: Sequence[Encoding]) -> list[Output]: ...


def encoder_for(model: PreTrainedModel, pad_id: int) -> Encodes:
    """In C++ where that fits, else the packed forward pass, else the model's own modules (in their own dtype)."""
    if NativeEncoder.fits(model):
        return NativeEncoder(model, exactly=True)
    return PackedEncoder(model) if PackedEncoder.fits(model) else PaddedEncoder(model, pad_id)


class PaddedEncoder:
    """Any encoder through its own modules; a batch is padded to its longest text."""

    extra_bytes = 0
    concurrent = False

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Encoding]) -> list[Output]:
        ids = [text.ids for text in texts]
        device = self._model.device
        inputs = {"input_ids": pad(ids, self._pad_id).to(device), "attention_mask": mask_of(ids).to(device)}
        if texts[0].types:
            inputs[TYPES] = pad([text.types for text in texts], 0).to(device)
        lengths = [len(text) for text in texts]
        if texts[0].head is Head.MEAN:
            body = self._model.body if isinstance(self._model, VirtualTokens) else self._model.base_model
            hidden = body(**inputs).last_hidden_state
            return _checked([_numpy(row[:length].float().mean(0)) for row, length in zip(hidden, lengths, strict=True)])
        outputs: Any = self._model(**inputs)
        if "start_logits" in outputs:
            made = torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
        else:
            made = outputs.logits
        if made.dim() == 2:
            return _checked(list(_numpy(made)))
        return _checked([_numpy(row[:length]) for row, length in zip(made, lengths, strict=True)])


class PackedEncoder:
    """BERT and RoBERTa on a CPU, without padding; their heads are the model's own modules, in float32."""

    concurrent = False

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> None:
        self._model: Any = model
        self._body = PackedBert(model, dtype)
        self.extra_bytes = self._body.copied_bytes
        self._whole_texts = hasattr(model, "classifier") and "SequenceClassification" in type(model).__name__

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        heads = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "Model")
        return PackedBert.fits(model) and type(model).__name__.endswith(heads)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Encoding]) -> list[Output]:
        mean = texts[0].head is Head.MEAN
        first_only = self._whole_texts and not mean
        hidden = self._body([text.ids for text in texts], [text.types for text in texts], first_only)
        if first_only:
            return _checked(list(_numpy(self._head_of_text(hidden))))
        lengths = [len(text) for text in texts]
        if mean:
            return _checked([_numpy(part.mean(0)) for part in torch.split(hidden, lengths)])
        head = self._model.qa_outputs if hasattr(self._model, "qa_outputs") else self._model.classifier
        return _checked([_numpy(part) for part in torch.split(head(hidden), lengths)])

    def _head_of_text(self, first: Tensor) -> Tensor:
        """Logits (texts, labels) from the hidden states of the first tokens (texts, width)."""
        pooler = getattr(self._model.base_model, "pooler", None)
        made: Tensor = self._model.classifier(first[:, None] if pooler is None else pooler(first[:, None]))
        return made


def _numpy(tensor: Tensor) -> Output:
    found: Output = tensor.float().cpu().numpy()
    return found


def _checked(rows: list[Output]) -> list[Output]:
    if not all(np.isfinite(row).all() for row in rows):
        raise ArithmeticError("the model gave values that are not finite")
    return rows
