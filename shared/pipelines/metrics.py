"""The metrics that each task kind is judged by, and which way is better. Torch-free."""

from typing import Literal

Direction = Literal["higher", "lower"]

METRICS: dict[str, dict[str, Direction]] = {
    "classification": {"accuracy": "higher", "macro_f1": "higher", "weighted_f1": "higher", "loss": "lower"},
    "chat": {"loss": "lower", "perplexity": "lower", "chrf": "higher", "rouge_l": "higher"},
}
"""Kind -> metric -> direction. Accuracy, F1 and ROUGE-L run from 0 to 1, chrF from 0 to 100; loss is in nats, a
row for classification and a token of the assistant's turns for chat."""

PRIMARY: dict[str, str] = {kind: next(iter(metrics)) for kind, metrics in METRICS.items()}
"""Kind -> the metric to compare by, unless the pipeline says otherwise."""
