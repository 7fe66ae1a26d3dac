"""Defaults of every (task kind, method), put together from sizes by kind and rates by method; and what no kind takes.

Rates: LoRA wants about ten times full fine-tuning's (Schulman et al. 2025), rsLoRA less for its larger scale; the
fewer numbers a method learns, the higher its rate and the more often it has to see the rows.
"""

from dataclasses import dataclass
from typing import Any

from shared.pipelines.kinds import KINDS

WITHOUT_HEAD = ("embedding", "translation", "summarisation", "chat", "instruction", "generation", "pretraining")


@dataclass(frozen=True)
class Size:
    """What a kind's rows ask for: `rate` is full fine-tuning's, `adapter_epochs` those of LoRA."""

    rate: float
    epochs: int
    adapter_epochs: int
    batch_size: int
    max_length: int


@dataclass(frozen=True)
class Pace:
    """What a method asks for: its rate times the kind's or, with `absolute`, whatever the kind; `epochs` more of
    them than LoRA takes (0: as many as full fine-tuning)."""

    rate: float
    epochs: int = 1
    absolute: bool = False


SIZES: dict[str, Size] = {
    "classification": Size(3e-4, 5, 5, 32, 128),  # CLINC150 on MiniLM, 150 labels: 2e-4 for 2 epochs is far too little
    "token_classification": Size(2e-4, 3, 4, 16, 256),
    "relation_extraction": Size(2e-4, 4, 5, 32, 128),
    "question_answering": Size(1e-4, 2, 3, 16, 384),
    "answer_selection": Size(1e-4, 2, 3, 8, 256),
    "ranking": Size(1e-4, 2, 3, 8, 256),
    "embedding": Size(1e-4, 2, 3, 32, 256),
    "translation": Size(1e-4, 2, 2, 8, 512),
    "summarisation": Size(1e-4, 2, 2, 4, 1024),
    "chat": Size(1e-4, 2, 2, 8, 1024),
    "instruction": Size(1e-4, 2, 2, 8, 1024),
    "generation": Size(1e-4, 2, 2, 8, 512),
    "pretraining": Size(5e-4, 1, 1, 16, 512),
}
PACES: dict[str, Pace] = {
    "full": Pace(1, epochs=0),
    "last_layers": Pace(2, epochs=0),
    "head": Pace(2e-3, epochs=2, absolute=True),
    "lora": Pace(10),
    "rslora": Pace(5),
    "dora": Pace(10),
    "adalora": Pace(15, epochs=2),
    "ia3": Pace(1e-2, epochs=2, absolute=True),
    "prefix_tuning": Pace(1e-2, epochs=2, absolute=True),
    "prompt_tuning": Pace(3e-2, epochs=3, absolute=True),
    "p_tuning": Pace(3e-3, epochs=3, absolute=True),
}
EXTRAS: dict[str, dict[str, Any]] = {
    "rslora": {"lora_rank": 32, "lora_alpha": 16.0},
    "adalora": {"weight_decay": 0.0},
    "ia3": {"weight_decay": 0.0},
    "prefix_tuning": {"weight_decay": 0.0},
    "prompt_tuning": {"weight_decay": 0.0},
    "p_tuning": {"weight_decay": 0.0},
}
"""Scales and virtual tokens are not drawn to zero; adalora's factors are kept orthogonal instead."""


HEAD_RATE = 10
"""A new head's rate over full fine-tuning's, with every method that trains a body or an adapter beside it: the head
starts from nothing. CLINC150 on MiniLM, 4,000 rows, 3 epochs: 93.0 % instead of 91.1."""
BESIDE_HEAD = 0.5
"""An adapter's rate where a new head learns at its own: 900 poems fell back to the commonest label at ten times full
fine-tuning's rate, and reached 79 % at a third of it."""
LOW_RANK = ("lora", "rslora", "dora", "adalora")
WITH_BODY = ("full", "last_layers", *LOW_RANK)


def tested_defaults(kind: str, method: str) -> dict[str, Any]:
    """Keys of a MethodConfig, besides its name."""
    size, pace = SIZES[kind], PACES[method]
    headed = method in WITH_BODY and kind not in WITHOUT_HEAD
    rate = pace.rate if pace.absolute else pace.rate * size.rate
    if headed and method in LOW_RANK:
        rate *= BESIDE_HEAD
    return {
        "learning_rate": round(rate, 9),
        "epochs": size.adapter_epochs * pace.epochs or size.epochs,
        "batch_size": size.batch_size,
        "max_length": size.max_length,
        **(
            {"head_learning_rate": round(HEAD_RATE * size.rate, 9)}
            if method in WITH_BODY and kind not in WITHOUT_HEAD
            else {}
        ),
        **EXTRAS.get(method, {}),
    }


def refusal(kind: str, method: str) -> str | None:
    """Why a kind can't take a method, whatever its base model; None when it can."""
    if method == "head" and kind in WITHOUT_HEAD:
        return "it has no head of its own, its outputs are the base model's"
    if kind == "pretraining" and method not in ("full", "last_layers", "lora", "rslora", "dora"):
        return "it is to make a base model, for which so few weights learn too little"
    return None


assert set(SIZES) == set(KINDS)
