"""Pretraining runs: from a base and from nothing, and what comes of them."""

from pathlib import Path
from typing import Any

import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from shared.modeling.card import ModelCard
from shared.modeling.loading import load_model
from shared.pipelines.options import Options
from tests.support.tiny_models import CORPUS, tiny_encoder
from tests.support.training_runs import Row, StopAfter, make_spec, named, run, weights_of

SIZES = {"hidden_size": 32, "layers": 2, "heads": 2, "positions": 48, "vocabulary": 400}
SCRATCH = [
    {"objective": "causal"},
    {"objective": "causal", "architecture": "gpt2"},
    {"objective": "masked"},
]
METHOD = {"learning_rate": 3e-3, "epochs": 3, "max_length": 48}


def documents(count: int, split: str = "train") -> list[Row]:
    texts = [f"{CORPUS[index % 5]} {CORPUS[(index + 1) % 5]} 今天天气很好" for index in range(count)]
    return [{"row_id": f"{split}-{index:03d}", "split": split, "text": text} for index, text in enumerate(texts)]


def scratch(folder: Path, options: dict[str, Any], **changes: Any) -> TrainingSpec:
    rows = documents(16) + documents(3, "validation")
    method = {**METHOD, **changes.pop("method", {})}
    chosen = Options(**{**SIZES, **options})
    return make_spec(folder, "pretraining", rows, method, base="new", options=chosen, **changes)


@pytest.mark.parametrize("options", SCRATCH)
def test_a_model_from_nothing_learns(tmp_path: Path, options: dict[str, Any]) -> None:
    spec = scratch(tmp_path, options, method={"epochs": 8})
    code, events = run(spec)
    assert code == EXIT_FINISHED, events[-1]
    losses = [event["metrics"]["loss"] for event in named(events, "validation")]
    assert losses[-1] < losses[0] - 0.3
    loaded = load_model(spec.output_dir)
    assert (loaded.card.base, loaded.card.kind) == ("new", "pretraining")
    assert loaded.card.max_length == 48
    text = "今天天气很好 the key"
    ids = loaded.tokenizer(text)["input_ids"]
    assert loaded.tokenizer.unk_token_id not in ids
    written = str(loaded.tokenizer.decode(ids, skip_special_tokens=True)).replace(" ", "")
    assert written == text.replace(" ", ""), "Chinese characters survive"


@pytest.mark.parametrize("options", [SCRATCH[0], SCRATCH[2]])
def test_a_drained_run_from_nothing_continues_exactly(tmp_path: Path, options: dict[str, Any]) -> None:
    calm = scratch(tmp_path, options, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    assert run(calm)[0] == EXIT_FINISHED
    spec = scratch(tmp_path, options)
    assert run(spec, StopAfter(3))[0] == EXIT_DRAINED
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["start_step"] == 3
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)
    assert ModelCard.read(spec.output_dir).base_digest == ModelCard.read(calm.output_dir).base_digest


def test_a_tokenizer_that_comes_out_smaller_is_told(tmp_path: Path) -> None:
    _, events = run(scratch(tmp_path, {"objective": "masked", "vocabulary": 5000}, method={"epochs": 1}))
    (note,) = named(events, "log")
    assert note["level"] == "warning"
    assert "of 5000 wanted" in note["message"]


def test_a_corpus_smaller_than_a_block_is_one_block(tmp_path: Path) -> None:
    rows = [{"row_id": "1", "split": "train", "text": "a b"}]
    spec = make_spec(tmp_path, "pretraining", rows, METHOD, base="new", options=Options(**{**SIZES, "positions": 512}))
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["rows"] == 1


def test_an_encoder_is_refused_for_the_causal_objective(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "pretraining", documents(4), METHOD, base=str(tiny_encoder(tmp_path / "encoder")))
    code, events = run(spec)
    assert code == EXIT_FAILED
    assert named(events, "failed")[0]["reason"] == "BAD_SPEC"
    assert "reads both ways" in named(events, "failed")[0]["message"]


def test_a_causal_base_is_refused_for_masks(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "pretraining", documents(4), METHOD, options=Options(objective="masked"))
    code, events = run(spec)
    assert code == EXIT_FAILED
    assert named(events, "failed")[0]["reason"] == "BAD_SPEC"


def test_an_encoder_goes_on_learning_masked_words(tmp_path: Path) -> None:
    first = scratch(tmp_path / "first", {"objective": "masked"})
    assert run(first)[0] == EXIT_FINISHED
    spec = make_spec(
        tmp_path / "second",
        "pretraining",
        documents(16) + documents(3, "validation"),
        {**METHOD, "epochs": 2},
        base=str(first.output_dir),
        options=Options(objective="masked"),
    )
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert named(events, "validation")[-1]["loss"] < named(events, "validation")[0]["loss"] + 1.0


def test_a_pretrained_encoder_is_a_base_for_classification(tmp_path: Path) -> None:
    first = scratch(tmp_path / "first", {"objective": "masked"})
    assert run(first)[0] == EXIT_FINISHED
    rows = [
        {"row_id": str(index), "split": split, "text": f"a {word} film {index}", "label": word}
        for index, (word, split) in enumerate([("good", "train"), ("bad", "train"), ("good", "validation")] * 4)
    ]
    spec = make_spec(tmp_path / "second", "classification", rows, {"epochs": 2}, base=str(first.output_dir))
    code, events = run(spec)
    assert code == EXIT_FINISHED, events[-1]
    assert load_model(spec.output_dir).card.labels == ("bad", "good")


def test_a_pretrained_causal_model_is_a_base_for_generation(tmp_path: Path) -> None:
    first = scratch(tmp_path / "first", {"objective": "causal"})
    assert run(first)[0] == EXIT_FINISHED
    rows = [
        {"row_id": str(index), "split": "train", "prompt": "the quick brown", "text": " fox jumps over"}
        for index in range(6)
    ]
    spec = make_spec(tmp_path / "second", "generation", rows, {"name": "lora", "epochs": 1}, base=str(first.output_dir))
    code, events = run(spec)
    assert code == EXIT_FINISHED, events[-1]
    assert load_model(spec.output_dir, base=first.output_dir).card.method == "lora"
