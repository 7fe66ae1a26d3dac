"""What every task kind is, as far as a pipeline file says it: metrics, labels, options. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["higher", "lower"]
KindName = Literal[
    "classification",
    "token_classification",
    "relation_extraction",
    "question_answering",
    "answer_selection",
    "ranking",
    "embedding",
    "translation",
    "summarisation",
    "chat",
    "instruction",
    "generation",
    "pretraining",
]


@dataclass(frozen=True)
class KindFacts:
    """One task kind. `metrics` by name with the better direction, the one to compare by first; `labelled` kinds have
    a closed set of labels; of a kind with `base_answers` the untouched base model can be asked, too; `options` are
    the keys of the pipeline file's `options` that mean something to it."""

    metrics: Mapping[str, Direction]
    labelled: bool = False
    base_answers: bool = False
    options: tuple[str, ...] = ()


_RETRIEVED: dict[str, Direction] = {
    "mrr": "higher",
    "ndcg_at_10": "higher",
    "recall_at_1": "higher",
    "recall_at_10": "higher",
    "loss": "lower",
}
_SPOKEN: dict[str, Direction] = {"loss": "lower", "perplexity": "lower", "chrf": "higher", "rouge_l": "higher"}

KINDS: dict[str, KindFacts] = {
    "classification": KindFacts(
        {
            "accuracy": "higher",
            "macro_f1": "higher",
            "micro_f1": "higher",
            "weighted_f1": "higher",
            "loss": "lower",
        },
        labelled=True,
        options=("multi_label", "threshold"),
    ),
    "token_classification": KindFacts(
        {"f1": "higher", "precision": "higher", "recall": "higher", "accuracy": "higher", "loss": "lower"},
        labelled=True,
    ),
    "relation_extraction": KindFacts({"macro_f1": "higher", "accuracy": "higher", "loss": "lower"}, labelled=True),
    "question_answering": KindFacts({"f1": "higher", "exact_match": "higher", "loss": "lower"}, options=("stride",)),
    "answer_selection": KindFacts({"accuracy": "higher", "mrr": "higher", "loss": "lower"}),
    "ranking": KindFacts(_RETRIEVED, options=("negatives",)),
    "embedding": KindFacts(_RETRIEVED, base_answers=True, options=("negatives", "temperature")),
    "translation": KindFacts(
        {"loss": "lower", "perplexity": "lower", "bleu": "higher", "chrf": "higher"},
        base_answers=True,
        options=("prompt", "source_language", "target_language", "answer_tokens", "answered_rows"),
    ),
    "summarisation": KindFacts(
        {"loss": "lower", "perplexity": "lower", "rouge_1": "higher", "rouge_2": "higher", "rouge_l": "higher"},
        base_answers=True,
        options=("prompt", "answer_tokens", "answered_rows"),
    ),
    "chat": KindFacts(_SPOKEN, base_answers=True, options=("answer_tokens", "answered_rows")),
    "instruction": KindFacts(_SPOKEN, base_answers=True, options=("prompt", "answer_tokens", "answered_rows")),
    "generation": KindFacts({"loss": "lower", "perplexity": "lower"}, base_answers=True),
    "pretraining": KindFacts(
        {"bits_per_byte": "lower", "loss": "lower", "perplexity": "lower", "accuracy": "higher"},
        base_answers=True,
        options=(
            "objective",
            "mask_ratio",
            "architecture",
            "vocabulary",
            "hidden_size",
            "layers",
            "heads",
            "positions",
        ),
    ),
}
"""Accuracy, F1, exact match, ROUGE, MRR, NDCG and recall run from 0 to 1, chrF and BLEU from 0 to 100. Loss is in
nats, a row for kinds that choose and a token for kinds that write."""

assert set(KINDS) == set(get_args(KindName))

METRICS: dict[str, Mapping[str, Direction]] = {name: facts.metrics for name, facts in KINDS.items()}
PRIMARY: dict[str, str] = {kind: next(iter(metrics)) for kind, metrics in METRICS.items()}
"""Kind -> the metric to compare by, unless the pipeline says otherwise."""
NEW_BASE = "new"
"""As `base`: a tokenizer and a model made from scratch, by pretraining only."""
