"""Which tensors the models of each task kind take and give in the Open Inference Protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

BYTES = "BYTES"
FP32 = "FP32"
ANY = -1


@dataclass(frozen=True)
class TensorSpec:
    """`shape` has -1 for any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """`streams`: one request may have many responses."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    streams: bool = False


_TEXTS = TensorSpec("text_input", BYTES, (ANY,))
_SCORES = TensorSpec("score", FP32, (ANY,))

SIGNATURES: Mapping[str, Signature] = {
    "classification": Signature(
        (_TEXTS, TensorSpec("text_pair", BYTES, (ANY,), optional=True)),
        (TensorSpec("label", BYTES, (ANY,)), _SCORES, TensorSpec("probabilities", FP32, (ANY, ANY))),
    ),
    "chat": Signature(
        (TensorSpec("text_input", BYTES, (1,)),), (TensorSpec("text_output", BYTES, (1,)),), streams=True
    ),
    "embedding": Signature((_TEXTS,), (TensorSpec("embedding", FP32, (ANY, ANY)),)),
    "ranking": Signature((TensorSpec("query", BYTES, (1,)), _TEXTS), (_SCORES,)),
    "token_classification": Signature((_TEXTS,), (TensorSpec("entities", BYTES, (ANY,)),)),
    "translation": Signature((_TEXTS,), (TensorSpec("text_output", BYTES, (ANY,)), _SCORES)),
    "summarisation": Signature((_TEXTS,), (TensorSpec("text_output", BYTES, (ANY,)), _SCORES)),
}
"""Entities are JSON: a list of {label, text, start, end, score} a text."""
