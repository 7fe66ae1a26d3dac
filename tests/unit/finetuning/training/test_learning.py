"""That training trains: the right weights, by the right gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from services.finetuning.spec import TrainingSpec
from shared.modeling.loading import load_model
from shared.modeling.predict import classify
from tests.support.tiny_adapters import lively_encoder
from tests.support.training_runs import make_spec, named, run, some_rows, weights_of

LEARNS = [
    ("classification", {"name": "full", "learning_rate": 5e-3, "epochs": 30}),
    ("classification", {"name": "full", "learning_rate": 5e-3, "epochs": 30, "precision": "bfloat16"}),
    ("classification", {"name": "lora", "learning_rate": 5e-3, "epochs": 40}),
    ("chat", {"name": "full", "learning_rate": 1e-2, "epochs": 60}),
    ("chat", {"name": "lora", "learning_rate": 2e-2, "epochs": 40}),
    ("classification", {"name": "last_layers", "layers": 1, "learning_rate": 1e-2, "epochs": 30}),
    ("chat", {"name": "rslora", "learning_rate": 1e-2, "epochs": 40}),
    ("chat", {"name": "dora", "learning_rate": 2e-2, "epochs": 40, "base_precision": "int4"}),
    ("chat", {"name": "adalora", "learning_rate": 5e-2, "epochs": 60, "precision": "bfloat16"}),
]
LEARNS_LESS = [
    ("classification", {"name": "head", "learning_rate": 1e-2, "epochs": 40}),
    ("classification", {"name": "ia3", "learning_rate": 3e-2, "epochs": 40}),
    ("classification", {"name": "prefix_tuning", "learning_rate": 3e-2, "epochs": 40}),
    ("classification", {"name": "prompt_tuning", "learning_rate": 3e-2, "epochs": 40}),
    ("classification", {"name": "p_tuning", "learning_rate": 1e-2, "epochs": 40}),
    ("chat", {"name": "last_layers", "layers": 1, "learning_rate": 1e-2, "epochs": 40}),
    ("chat", {"name": "ia3", "learning_rate": 1e-1, "epochs": 60}),
    ("chat", {"name": "prefix_tuning", "learning_rate": 1e-1, "epochs": 60}),
    ("chat", {"name": "prompt_tuning", "learning_rate": 1e-1, "epochs": 60}),
]


def _finished(spec: TrainingSpec) -> list[dict[str, Any]]:
    code, events = run(spec)
    assert code == 0, events[-1]
    return events


@pytest.mark.parametrize(("kind", "method"), LEARNS)
def test_one_batch_can_be_learnt_by_heart(tmp_path: Path, kind: str, method: dict[str, Any]) -> None:
    rows = some_rows(kind, 8)
    spec = make_spec(tmp_path, kind, rows, {"batch_size": 8, **method})
    progress = named(_finished(spec), "progress")
    assert progress[-1]["loss"] < 0.25 * progress[0]["loss"]


@pytest.mark.parametrize(("kind", "method"), LEARNS_LESS)
def test_methods_that_train_little_lower_the_loss(tmp_path: Path, kind: str, method: dict[str, Any]) -> None:
    if kind == "classification":
        lively_encoder(tmp_path / "base")
    own = {"virtual_tokens": 8} if method["name"].endswith("_tuning") else {}
    spec = make_spec(tmp_path, kind, some_rows(kind, 8), {"batch_size": 8, **own, **method})
    progress = named(_finished(spec), "progress")
    assert progress[-1]["loss"] < 0.7 * progress[0]["loss"]


def test_learnt_labels_are_predicted(tmp_path: Path) -> None:
    rows = some_rows("classification", 8)
    method = {"learning_rate": 5e-3, "epochs": 30, "batch_size": 8}
    spec = make_spec(tmp_path, "classification", rows, method)
    _finished(spec)
    loaded = load_model(spec.output_dir)
    best = [max(range(2), key=scores.__getitem__) for scores in classify(loaded, [row["text"] for row in rows])]
    assert [loaded.card.labels[index] for index in best] == [row["label"] for row in rows]


def test_finished_folder_loads_with_plain_transformers(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 8))
    finished = named(_finished(spec), "finished")[0]
    model = AutoModelForSequenceClassification.from_pretrained(finished["path"])
    assert model.config.id2label == {0: "label-0", 1: "label-1"}


@pytest.mark.parametrize("kind", ["classification", "chat"])
def test_lora_leaves_the_base_alone(tmp_path: Path, kind: str) -> None:
    spec = make_spec(tmp_path, kind, some_rows(kind, 8), {"name": "lora"})
    before = (Path(spec.base) / "model.safetensors").read_bytes()
    _finished(spec)
    assert (Path(spec.base) / "model.safetensors").read_bytes() == before
    assert not list(spec.output_dir.glob("model*.safetensors"))


@pytest.mark.parametrize("kind", ["classification", "chat"])
def test_accumulated_small_batches_step_like_a_large_one(tmp_path: Path, kind: str) -> None:
    rows = some_rows(kind, 8)
    one = {"epochs": 1, "learning_rate": 1e-2, "weight_decay": 0.0, "warmup_ratio": 0.0}
    large = make_spec(tmp_path, kind, rows, {**one, "batch_size": 8}, output_dir=tmp_path / "large")
    small = make_spec(
        tmp_path, kind, rows, {**one, "batch_size": 2, "gradient_accumulation": 4}, work_dir=tmp_path / "small-work"
    )
    _without_dropout(Path(large.base))
    first, second = (named(_finished(spec), "progress")[-1] for spec in (large, small))
    assert second["total_steps"] == 1
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)
    assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-4)


def test_words_that_do_not_occur_keep_their_embedding(tmp_path: Path) -> None:
    rows = some_rows("classification", 8)
    spec = make_spec(tmp_path, "classification", rows, {"learning_rate": 1e-2})
    _finished(spec)
    before = load_file(Path(spec.base) / "model.safetensors")["embeddings.word_embeddings.weight"]
    after = load_file(spec.output_dir / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    loaded = load_model(spec.output_dir)
    seen = {token for row in rows for token in loaded.tokenizer(row["text"])["input_ids"]}
    changed = set(torch.ne(before, after).any(1).nonzero().flatten().tolist())
    assert changed == seen


def test_same_spec_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    rows = some_rows("classification", 12)
    specs = [
        make_spec(
            tmp_path, "classification", rows, seed=seed, output_dir=tmp_path / name, work_dir=tmp_path / f"w{name}"
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    for spec in specs:
        _finished(spec)
    first, second, other = (weights_of(spec.output_dir) for spec in specs)
    assert first == second
    assert first != other


def test_masters_stay_float32_when_steps_are_bfloat16(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 8), {"precision": "bfloat16"})
    _finished(spec)
    tensors = load_file(spec.output_dir / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    weight = tensors["bert.encoder.layer.0.attention.self.query.weight"]
    assert (weight != weight.bfloat16().float()).any()


def _without_dropout(base: Path) -> None:
    config = base / "config.json"
    config.write_text(config.read_text().replace('_dropout_prob": 0.1', '_dropout_prob": 0.0'))
