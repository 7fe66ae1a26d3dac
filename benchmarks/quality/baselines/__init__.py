"""The obvious ways to answer each task kind, without training a network."""

from collections.abc import Mapping

from benchmarks.quality.baselines import classification, pretraining, relation_extraction, token_classification, writing
from benchmarks.quality.contenders import Contender

BASELINES: Mapping[str, tuple[Contender, ...]] = {
    "classification": classification.CONTENDERS,
    "token_classification": token_classification.CONTENDERS,
    "relation_extraction": relation_extraction.CONTENDERS,
    "translation": writing.TRANSLATION,
    "summarisation": writing.SUMMARISATION,
    "chat": writing.CONVERSATION,
    "instruction": writing.CONVERSATION,
    "generation": writing.CONVERSATION,
    "pretraining": pretraining.CONTENDERS,
}
