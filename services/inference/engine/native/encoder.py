"""Encoders in C++: texts laid end to end without padding, one thread a call, any number of calls at once."""

import ctypes
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from services.inference.engine.native.encoder_library import Texts, encode, why_not
from services.inference.engine.native.encoder_weights import head_of, pack_encoder, shift_of
from services.inference.engine.native.packing import PANEL
from services.inference.engine.tokenising import Encoding
from services.inference.engine.tokenising import Head as Wanted

FAMILIES = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "distilbert"})
HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "Model")


class NativeEncoder:
    """An `Encodes` with products in bfloat16, or `exactly` in float32; everything else is in float32. The model must
    stay as it is: they share weights."""

    concurrent = True

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Whether this computes what the model's own modules would, here."""
        config: Any = model.config
        return (
            why_not() is None
            and config.model_type in FAMILIES
            and type(model).__name__.endswith(HEADS)
            and model.device.type == "cpu"
            and all(parameter.dtype == torch.float32 for parameter in model.parameters())
            and getattr(config, "hidden_act", getattr(config, "activation", "")) == "gelu"
            and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
            and not getattr(config, "is_decoder", False)
            and not getattr(config, "add_cross_attention", False)
            and _sizes_fit(config)
        )

    def __init__(self, model: PreTrainedModel, exactly: bool = False) -> None:
        config: Any = model.config
        self._whole_texts = type(model).__name__.endswith("SequenceClassification")
        self._outputs = 0 if head_of(model).labels is None else head_of(model).labels.out_features
        self._packed = pack_encoder(model, exactly)
        self._vocabulary = int(config.vocab_size)
        self._types = int(getattr(config, "type_vocab_size", 0))
        self._longest = int(config.max_position_embeddings) - shift_of(config)
        self._encode = encode(exactly)
        self.extra_bytes = self._packed.extra_bytes

    def __call__(self, texts: Sequence[Encoding]) -> list[NDArray[np.float32]]:
        mean = texts[0].head is Wanted.MEAN
        assert mean or self._outputs, "this model has no head of its own"
        rows = self._run(texts, first_only=self._whole_texts and not mean, with_head=not mean)
        if not np.isfinite(rows).all():
            raise ArithmeticError("the model gave values that are not finite")
        if self._whole_texts and not mean:
            return list(rows)
        parts = np.split(rows, list(accumulate(map(len, texts)))[:-1])
        return [part.mean(0) for part in parts] if mean else parts

    def _run(self, texts: Sequence[Encoding], first_only: bool, with_head: bool) -> NDArray[np.float32]:
        ids, starts = array("i"), array("i", accumulate(map(len, texts), initial=0))
        types = array("i")
        for text in texts:
            assert 0 < len(text) <= self._longest
            ids.extend(text.ids)
            types.extend(text.types)
        assert min(ids) >= 0
        assert max(ids) < self._vocabulary
        assert not types or (len(types) == len(ids) and min(types) >= 0 and max(types) < self._types)
        width = self._outputs if with_head else self._packed.encoder.width
        out = np.empty((len(texts) if first_only else len(ids), width), np.float32)
        batch = Texts(
            ids=ids.buffer_info()[0],
            types=types.buffer_info()[0] if types else None,
            starts=starts.buffer_info()[0],
            out=out.ctypes.data,
            count=len(texts),
            first_only=first_only,
            with_head=with_head,
        )
        if self._encode(ctypes.byref(self._packed.encoder), ctypes.byref(batch)):
            raise MemoryError(f"no memory for {len(ids)} tokens")
        return out


def _sizes_fit(config: Any) -> bool:
    width: int = config.hidden_size
    inner: int = getattr(config, "intermediate_size", None) or config.hidden_dim
    size, odd = divmod(width, config.num_attention_heads)
    return odd == 0 and size % 16 == 0 and width % PANEL == 0 and inner % PANEL == 0
