"""The same task by the textbook, by transformers' Trainer (with PEFT for LoRA), and by ours."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from psutil import Process
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments, get_linear_schedule_with_warmup, set_seed

from benchmarks.quality.training import Listener, NeverStop
from benchmarks.training.scenarios import Scenario, encode
from services.finetuning.spec import DatasetInput, DatasetPart, TrainingSpec
from services.finetuning.training.app import run_training
from shared.modeling.bases import resolve_base
from shared.modeling.digests import file_digest
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import IGNORED, Example, Kind, pad
from shared.modeling.loading import load_model, load_tokenizer
from shared.modeling.quiet import quiet_libraries

FIXED_LENGTH = 128
"""What the textbook pads every text to."""


@dataclass(frozen=True)
class Trained:
    """Seconds, rows and tokens of the loop; the model's scores when asked."""

    figures: dict[str, float]
    score: Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Plain:
    """What transformers' own way starts from."""

    kind: Kind
    model: Any
    pad_id: int
    train: list[Example]
    validation: list[Example]

    def trained(self, seconds: float, epochs: int) -> Trained:
        def score() -> dict[str, float]:
            inner = self.model.train(False)
            return self.kind.score(inner, self.validation, self.pad_id, 32)

        return Trained(_figures(self.train, seconds, epochs), score)


def textbook(scenario: Scenario, folder: Path) -> Trained:
    """A loop as tutorials have it: float32, every text padded to 128 tokens, rows in random order."""
    plain, config = _plain(scenario), scenario.config
    loader: Any = DataLoader(
        plain.train,  # type: ignore[arg-type]
        batch_size=config.batch_size,
        shuffle=True,
        collate_fn=lambda examples: _padded(examples, plain.pad_id, FIXED_LENGTH),
    )
    optimizer = torch.optim.AdamW(plain.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = len(loader) * config.epochs
    make_schedule: Any = get_linear_schedule_with_warmup
    schedule: Any = make_schedule(optimizer, int(steps * config.warmup_ratio), steps)
    plain.model.train()
    began = time.perf_counter()
    for _ in range(config.epochs):
        for batch in loader:
            optimizer.zero_grad()
            plain.model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.model.parameters(), config.max_gradient_norm)
            optimizer.step()
            schedule.step()
    return plain.trained(time.perf_counter() - began, config.epochs)


def trainer(scenario: Scenario, folder: Path) -> Trained:
    """transformers' Trainer with rows grouped by length, autocast to bfloat16, and PEFT where the method is LoRA."""
    plain, config = _plain(scenario), scenario.config
    rows = [{**_fields(example), "length": example.length} for example in plain.train]
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        bf16=True,
        per_device_train_batch_size=config.batch_size,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_gradient_norm,
        warmup_steps=config.warmup_ratio,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=10_000,
        seed=scenario.seed,
        remove_unused_columns=False,
    )
    made = Trainer(
        model=plain.model,
        args=arguments,
        train_dataset=rows,
        data_collator=lambda items: _padded([item["example"] for item in items], plain.pad_id, None),
    )
    began = time.perf_counter()
    made.train()
    return plain.trained(time.perf_counter() - began, config.epochs)


def ours(scenario: Scenario, folder: Path) -> Trained:
    """A run as the fine-tuning service starts it, without validation, as the others; one checkpoint on the way is
    timed apart."""
    part = folder / "part.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, "split": "train"} for row in scenario.train]), part)
    spec = TrainingSpec(
        run="benchmark",
        job="benchmark",
        pipeline="benchmark",
        kind=scenario.kind,
        base=scenario.base,
        base_cache=Path(scenario.bases),
        method=scenario.config,
        labels=None,
        dataset=DatasetInput("benchmark", (DatasetPart(part, file_digest(part)),)),
        work_dir=folder / "work",
        output_dir=folder / "model",
        seed=scenario.seed,
        threads=scenario.threads,
        checkpoint_every_steps=-(-len(scenario.train) // scenario.config.batch_size) * 2 // 3,
        checkpoint_every_seconds=None,
    )
    quiet_libraries()
    events = Clock()
    run_training(spec, events, NeverStop())
    torch.use_deterministic_algorithms(False)
    assert events.last["event"] == "finished", events.last

    def score() -> dict[str, float]:
        base = resolve_base(spec.base, spec.base_cache).path if spec.method.name == "lora" else None
        loaded = load_model(spec.output_dir, base=base, dtype="float32")
        kind = find_kind(scenario.kind)
        _, validation = encode(scenario, kind, loaded.tokenizer, loaded.card.labels)
        return kind.score(loaded.model, validation, int(loaded.tokenizer.pad_token_id), 32)

    began = events.moments["started"]
    rows = events.begun
    figures = {
        "seconds": events.stepped - began - sum(events.checkpoints),
        "checkpoint_seconds": mean(events.checkpoints),
        "rows": float(rows["rows"] * spec.method.epochs),
        "tokens": float(rows["tokens"] * spec.method.epochs),
    }
    return Trained(figures, score)


class Clock(Listener):
    """When a run began and made its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: dict[str, float] = {}
        self.begun: dict[str, Any] = {}
        self.stepped = 0.0
        self.checkpoints: list[float] = []

    def send(self, event: str, **values: Any) -> None:
        self.moments[event] = time.perf_counter()
        if event == "started":
            self.begun = values
        if event == "checkpoint":
            self.checkpoints.append(values["seconds"])
        if event == "progress":
            self.stepped = time.perf_counter()
        super().send(event, **values)


CONTENDERS: dict[str, Callable[[Scenario, Path], Trained]] = {"textbook": textbook, "trainer": trainer, "ours": ours}


def _plain(scenario: Scenario) -> Plain:
    quiet_libraries()
    torch.set_num_threads(scenario.threads)
    kind = find_kind(scenario.kind)
    base = resolve_base(scenario.base, Path(scenario.bases))
    tokenizer: Any = load_tokenizer(base.path)
    labels = kind.learn_labels(scenario.train)
    set_seed(scenario.seed)
    model: Any = kind.load(base.path, labels)
    if scenario.config.name == "lora":
        config = scenario.config
        adapter = LoraConfig(
            r=config.lora_rank, lora_alpha=round(config.lora_alpha), target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, adapter)
    train, validation = encode(scenario, kind, tokenizer, labels)
    return Plain(kind, model, int(tokenizer.pad_token_id), train, validation)


def _fields(example: Example) -> dict[str, Any]:
    return {"example": example, "input_ids": example.ids}


def _padded(examples: Sequence[Example], pad_id: int, length: int | None) -> dict[str, torch.Tensor]:
    """As a collator of transformers makes it; `labels` are classes, or tokens where they are as long as the text."""
    width = length or max(len(example.ids) for example in examples)
    ids = [(example.ids + [pad_id] * width)[:width] for example in examples]
    seen = [([1] * len(example.ids) + [0] * width)[:width] for example in examples]
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(seen)}
    if all(len(example.targets) == 1 for example in examples):
        return {**batch, "labels": torch.tensor([example.targets[0] for example in examples])}
    return {**batch, "labels": pad([example.targets for example in examples], IGNORED)}


def _figures(train: Sequence[Example], seconds: float, epochs: int) -> dict[str, float]:
    tokens = sum(example.length for example in train)
    return {
        "seconds": seconds,
        "to_first_step": time.time() - Process().create_time() - seconds,
        "rows": float(len(train) * epochs),
        "tokens": float(tokens * epochs),
    }
