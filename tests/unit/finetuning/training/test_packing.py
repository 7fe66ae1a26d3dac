"""Packed and grouped batches learn what padded ones learn, step by step and row by row."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED
from services.finetuning.training.examples.order import epoch_batches
from services.finetuning.training.examples.packing import lay_end_to_end
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.writing import token_losses
from shared.modeling.loading import load_tokenizer
from shared.pipelines.methods import resolve_method
from tests.support.tiny_models import tiny_decoder
from tests.support.training_runs import Row, StopAfter, make_spec, named, run, some_rows, weights_of

ROWS = some_rows("chat", 22) + some_rows("chat", 4, "validation", start=100)
CPU = torch.device("cpu")
METHOD = {"batch_size": 4, "gradient_accumulation": 2, "learning_rate": 3e-3}


def _run(folder: Path, packing: bool | str, **method: Any) -> tuple[list[Row], list[Row]]:
    """Events and logged steps of a run."""
    spec = make_spec(folder, "chat", ROWS, {**METHOD, "packing": packing, **method})
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert not named(events, "failed")
    return events, [json.loads(line) for line in (spec.work_dir / "rows.log").read_text().splitlines()]


def test_layers_that_are_computed_twice_keep_texts_apart_both_times(tmp_path: Path) -> None:
    packed, _ = _run(tmp_path / "packed", True, gradient_checkpointing=True)
    padded, _ = _run(tmp_path / "padded", False)
    losses = [[event["loss"] for event in named(events, "validation")] for events in (packed, padded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_step_has_the_loss_and_the_rows_of_the_padded_one(tmp_path: Path, method: str) -> None:
    packed, packed_log = _run(tmp_path / "packed", True, name=method)
    padded, padded_log = _run(tmp_path / "padded", False, name=method)
    assert [named(events, "started")[0]["end_to_end"] for events in (packed, padded)] == [True, False]
    assert packed_log == padded_log
    assert len(packed_log) == 6
    counted = Counter(row for line in packed_log for row in line["rows"])
    assert counted == {row["row_id"]: 2 for row in ROWS if row["split"] == "train"}
    losses = [[event["loss"] for event in named(events, "validation")] for events in (packed, padded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    last = [named(events, "progress")[-1]["loss"] for events in (packed, padded)]
    assert last[0] == pytest.approx(last[1], rel=1e-4)


def test_a_packed_run_that_was_interrupted_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = make_spec(tmp_path / "whole", "chat", ROWS, {**METHOD, "packing": True})
    cut = make_spec(tmp_path / "cut", "chat", ROWS, {**METHOD, "packing": True})
    assert run(whole)[0] == EXIT_FINISHED
    assert run(cut, StopAfter(3))[0] == EXIT_DRAINED
    assert run(cut)[0] == EXIT_FINISHED
    assert weights_of(cut.output_dir) == weights_of(whole.output_dir)
    assert (cut.work_dir / "rows.log").read_bytes() == (whole.work_dir / "rows.log").read_bytes()


def test_an_epoch_in_grouped_batches_has_each_rows_loss_alone(tmp_path: Path) -> None:
    base, kind = tiny_decoder(tmp_path / "base"), find_kind("chat")
    model = kind.load(base, ())
    model.train(False)
    examples = kind.encode(load_tokenizer(base), some_rows("chat", 40), (), 64).examples
    batches = epoch_batches([example.length for example in examples], 8, 0, 0, "digest")
    with torch.no_grad():
        alone = [float(token_losses(model, kind.collate([example], 0)).sum()) for example in examples]
        for batch in batches:
            together = token_losses(model, kind.collate([examples[index] for index in batch], 0)).sum(1)
            assert together.tolist() == pytest.approx([alone[index] for index in batch], rel=1e-5)


def test_auto_packs_what_can_be_packed(tmp_path: Path) -> None:
    model = find_kind("chat").load(tiny_decoder(tmp_path / "base"), ())
    assert lay_end_to_end(resolve_method("chat", {}), find_kind("chat"), model, CPU)
    for method in ("prefix_tuning", "prompt_tuning", "p_tuning"):
        assert not lay_end_to_end(resolve_method("chat", {"name": method}), find_kind("chat"), model, CPU)
    assert not lay_end_to_end(resolve_method("chat", {}), find_kind("chat"), model, torch.device("cuda"))
    assert not lay_end_to_end(resolve_method("pretraining", {}), find_kind("pretraining"), model, CPU)


def test_packing_that_the_model_can_not_have_fails_with_the_reason(tmp_path: Path, monkeypatch: Any) -> None:
    spec = make_spec(tmp_path, "chat", ROWS, {**METHOD, "packing": True})
    monkeypatch.setattr("transformers.LlamaForCausalLM._supports_attention_backend", False)
    code, events = run(spec)
    assert code == EXIT_FAILED
    assert named(events, "failed")[0]["reason"] == "BAD_SPEC"
    assert "method.packing: the attention of models of type llama" in named(events, "failed")[0]["message"]


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("classification", {"packing": True}, "kind classification can't be packed"),
        ("pretraining", {"packing": True}, "packs documents into blocks in any case"),
        ("pretraining", {"packing": False}, "packs documents into blocks in any case"),
        ("chat", {"name": "prefix_tuning", "packing": True}, "virtual tokens of prefix_tuning"),
    ],
)
def test_packing_without_effect_is_refused(kind: str, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        resolve_method(kind, given)
