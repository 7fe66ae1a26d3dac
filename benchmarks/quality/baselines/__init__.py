"""The obvious ways to answer each task kind, without training a network."""

from collections.abc import Mapping

from benchmarks.quality.baselines import (
    classification,
    ordering,
    pretraining,
    question_answering,
    relation_extraction,
    token_classification,
    writing,
)
from benchmarks.quality.contenders import Contender

BASELINES: Mapping[str, tuple[Contender, ...]] = {
    "classification": classification.CONTENDERS,
    "token_classification": token_classification.CONTENDERS,
    "relation_extraction": relation_extraction.CONTENDERS,
    "question_answering": question_answering.CONTENDERS,
    "answer_selection": ordering.SELECTED,
    "ranking": ordering.RANKED,
    "embedding": ordering.VECTORS,
    "translation": writing.TRANSLATION,
    "summarisation": writing.SUMMARISATION,
    "chat": writing.CONVERSATION,
    "instruction": writing.CONVERSATION,
    "generation": writing.CONVERSATION,
    "pretraining": pretraining.CONTENDERS,
}
