"""Which tensors the models of each task kind take and give in the Open Inference Protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

BYTES = "BYTES"
FP32 = "FP32"
INT64 = "INT64"
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


def _spans(name: str) -> TensorSpec:
    """Start and end, in characters."""
    return TensorSpec(name, INT64, (ANY, 2))


_WRITES = Signature((TensorSpec("text_input", BYTES, (1,)),), (TensorSpec("text_output", BYTES, (1,)),), streams=True)

SIGNATURES: Mapping[str, Signature] = {
    "classification": Signature(
        (_TEXTS, TensorSpec("text_pair", BYTES, (ANY,), optional=True)),
        (TensorSpec("label", BYTES, (ANY,)), _SCORES, TensorSpec("probabilities", FP32, (ANY, ANY))),
    ),
    **dict.fromkeys(("chat", "instruction", "generation", "pretraining"), _WRITES),
    "embedding": Signature((_TEXTS,), (TensorSpec("embedding", FP32, (ANY, ANY)),)),
    "ranking": Signature((TensorSpec("query", BYTES, (1,)), _TEXTS), (_SCORES,)),
    "token_classification": Signature((_TEXTS,), (TensorSpec("entities", BYTES, (ANY,)),)),
    "relation_extraction": Signature(
        (_TEXTS, _spans("head"), _spans("tail")),
        (TensorSpec("label", BYTES, (ANY,)), _SCORES, TensorSpec("direction", BYTES, (ANY,))),
    ),
    "question_answering": Signature(
        (TensorSpec("question", BYTES, (ANY,)), TensorSpec("context", BYTES, (ANY,))),
        (TensorSpec("answer", BYTES, (ANY,)), _SCORES, TensorSpec("no_answer", FP32, (ANY,)), _spans("span")),
    ),
    "answer_selection": Signature(
        (TensorSpec("question", BYTES, (1,)), _TEXTS),
        (TensorSpec("answer", BYTES, (1,)), TensorSpec("candidate", INT64, (1,)), _SCORES),
    ),
    "translation": Signature((_TEXTS,), (TensorSpec("text_output", BYTES, (ANY,)), _SCORES)),
    "summarisation": Signature((_TEXTS,), (TensorSpec("text_output", BYTES, (ANY,)), _SCORES)),
}
"""Entities are JSON: a list of {label, text, start, end, score} a text. A direction is none, head_to_tail or
tail_to_head. The span of an answer that is not there is 0, 0."""
