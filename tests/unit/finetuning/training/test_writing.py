"""Runs of the kinds that write, on both sorts of models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from shared.modeling.kinds.base import length_limit
from shared.modeling.loading import load_model
from shared.pipelines.options import Options
from tests.support.tiny_encoders import tiny_writer
from tests.support.tiny_models import tiny_decoder, tiny_encoder
from tests.support.training_runs import Row, StopAfter, make_spec, named, run, weights_of

COLUMNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "translation": ("source", "target", {"source_lang": "en", "target_lang": "de"}),
    "summarisation": ("document", "summary", {}),
    "instruction": ("instruction", "output", {"input": None, "system": None}),
    "generation": ("prompt", "text", {}),
}
SAID = {"door": "turn the key", "price": "ten coins", "film": "good and bad"}
CASES: list[tuple[str, Callable[..., Path]]] = [
    ("translation", tiny_writer),
    ("translation", tiny_decoder),
    ("summarisation", tiny_writer),
    ("instruction", tiny_decoder),
    ("generation", tiny_decoder),
]


def rows_of(kind: str, count: int, split: str = "train") -> list[Row]:
    asked, said, others = COLUMNS[kind]
    things = sorted(SAID)
    return [
        {
            "row_id": f"{split}-{index:03d}",
            "split": split,
            asked: f"{index} the {things[index % 3]}",
            said: SAID[things[index % 3]],
            **others,
        }
        for index in range(count)
    ]


def spec_of(folder: Path, kind: str, base: Callable[..., Path], method: dict[str, Any], **changes: Any) -> TrainingSpec:
    path = folder / "base"
    if not path.exists():
        base(path)
    rows = rows_of(kind, 12) + rows_of(kind, 3, "validation")
    return make_spec(folder, kind, rows, method, **changes)


@pytest.mark.parametrize("method", [{"name": "full", "learning_rate": 1e-2}, {"name": "lora", "learning_rate": 2e-2}])
@pytest.mark.parametrize(("kind", "base"), CASES)
def test_answers_can_be_learnt(tmp_path: Path, kind: str, base: Callable[..., Path], method: dict[str, Any]) -> None:
    spec = spec_of(tmp_path, kind, base, {**method, "epochs": 12})
    code, events = run(spec)
    assert code == EXIT_FINISHED, events[-1]
    losses = [event["loss"] for event in named(events, "validation")]
    assert losses[-1] < 0.9 * losses[0]
    loaded = load_model(spec.output_dir, base=tmp_path / "base")
    assert loaded.card.max_length == length_limit(loaded.model, loaded.tokenizer, 64)


@pytest.mark.parametrize(("kind", "base"), [CASES[0], CASES[4]])
def test_a_drained_run_continues_exactly(tmp_path: Path, kind: str, base: Callable[..., Path]) -> None:
    method = {"name": "lora", "lora_dropout": 0.1}
    calm = spec_of(tmp_path, kind, base, method, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    assert run(calm)[0] == EXIT_FINISHED
    spec = spec_of(tmp_path, kind, base, method)
    assert run(spec, StopAfter(2))[0] == EXIT_DRAINED
    assert run(spec)[0] == EXIT_FINISHED
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)


def test_a_language_that_nobody_names_is_bad_data(tmp_path: Path) -> None:
    tiny_decoder(tmp_path / "base")
    rows = [{**row, "target_lang": None} for row in rows_of("translation", 4)]
    code, events = run(make_spec(tmp_path, "translation", rows))
    assert code == EXIT_FAILED
    (failure,) = named(events, "failed")
    assert failure["reason"] == "BAD_DATA"
    assert "row train-000: target_language is empty" in failure["message"]


def test_an_own_prompt_stands_on_the_card(tmp_path: Path) -> None:
    options = Options(prompt="Q: {text} A:")
    spec = spec_of(tmp_path, "instruction", tiny_decoder, {"epochs": 1}, options=options)
    assert run(spec)[0] == EXIT_FINISHED
    card = load_model(spec.output_dir).card
    assert (card.prompt, card.options["prompt"]) == ("Q: {text} A:", "Q: {text} A:")


def test_an_encoder_can_not_write(tmp_path: Path) -> None:
    for kind in ("translation", "instruction", "generation"):
        spec = spec_of(tmp_path / kind, kind, tiny_encoder, {})
        code, events = run(spec)
        assert code == EXIT_FAILED
        assert named(events, "failed")[0]["reason"] == "BAD_SPEC"
