"""What a run begins with: an earlier version's weights where they fit, else the base, and then the log says why."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from services.finetuning.spec import Start, TrainingSpec
from services.finetuning.training.failures import TrainingFailed
from services.finetuning.training.starting import Beginning
from shared.modeling.bases import BaseModel, resolve_base
from shared.modeling.card import ModelCard
from shared.modeling.methods import find_method
from tests.support.training_runs import make_spec, named, run, some_rows

STILL = {"learning_rate": 1e-12, "weight_decay": 0, "epochs": 1}
"""So slow that what training began with is still there."""
LABELS = ("label-0", "label-1")


def began(spec: TrainingSpec) -> Start:
    """A version that the spec's run made, to begin with."""
    code, events = run(spec)
    assert code == 0, events[-1]
    card = ModelCard.read(spec.output_dir)
    return Start(1, spec.output_dir, card.adapter_digest or card.weights_digest)


@pytest.mark.parametrize("method", ["full", "lora", "dora", "ia3", "prefix_tuning", "prompt_tuning"])
def test_training_goes_on_where_a_version_ended(tmp_path: Path, method: str) -> None:
    rows = some_rows("classification", 16)
    one = make_spec(tmp_path / "one", "classification", rows, {"name": method, "learning_rate": 1e-2})
    start = began(one)
    still = replace(one, method=one.method.model_copy(update=STILL), work_dir=tmp_path / "w", seed=3)
    warm, cold = replace(still, output_dir=tmp_path / "warm", start=start), replace(still, output_dir=tmp_path / "cold")
    assert run(warm)[0] == run(replace(cold, work_dir=tmp_path / "w2"))[0] == 0
    assert distance(start.folder, warm.output_dir) < 1e-6 < 1e-3 < distance(start.folder, cold.output_dir)
    assert ModelCard.read(warm.output_dir).started_from == start.digest
    assert ModelCard.read(cold.output_dir).started_from == ""
    assert warm.identity("b") != cold.identity("b"), "a checkpoint of one is none of the other"


def distance(one: Path, other: Path) -> float:
    """The greatest difference between two folders' weights."""
    files = [load_file(next(folder.glob("*model.safetensors"))) for folder in (one, other)]
    assert files[0].keys() == files[1].keys()
    return max(float((files[0][name] - files[1][name]).abs().max()) for name in files[0])


class Log:
    """Events of which only the log counts."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def log(self, level: str, message: str) -> None:
        self.said.append(message)


def begin(spec: TrainingSpec, base: BaseModel, labels: tuple[str, ...] = LABELS) -> tuple[Beginning, list[str]]:
    events: Any = Log()
    return Beginning(spec, base, labels, find_method(spec.method.name), events), events.said


def test_what_does_not_fit_is_told_and_the_base_taken(tmp_path: Path) -> None:
    rows = some_rows("classification", 8)
    one = make_spec(tmp_path / "one", "classification", rows, {"name": "lora", "epochs": 1})
    start, base = began(one), resolve_base(one.base, tmp_path)
    spec = replace(one, start=start)
    full = replace(spec, method=one.method.model_copy(update={"name": "full"}))
    dora = replace(spec, method=one.method.model_copy(update={"name": "dora"}))
    for refused, words in (
        (begin(spec, base, ("label-1", "label-0")), "has other labels"),
        (begin(spec, replace(base, digest="another")), "has another base model"),
        (begin(full, base), "is an adapter (lora), not a whole model"),
        (begin(dora, base), "was trained with lora, not with dora"),
    ):
        beginning, said = refused
        assert said == [f"training starts from the base model: version 1 {words}"]
        assert (beginning.folder, beginning.digest) == (base.path, "")
    taken, said = begin(spec, base)
    assert (taken.digest, said) == (start.digest, [])

    wider = replace(spec, method=one.method.model_copy(update={"lora_rank": 3}), output_dir=tmp_path / "wider")
    code, events = run(wider)
    assert code == 0
    assert any("has another adapter" in event["message"] for event in named(events, "log"))
    assert ModelCard.read(wider.output_dir).started_from == ""


def test_a_version_that_is_not_what_its_record_says_ends_the_run(tmp_path: Path) -> None:
    one = make_spec(tmp_path / "one", "classification", some_rows("classification", 8), {"epochs": 1})
    start, base = began(one), resolve_base(one.base, tmp_path)
    with pytest.raises(TrainingFailed, match="version 1 has digest"):
        begin(replace(one, start=replace(start, digest="0" * 64)), base)


def test_another_base_than_the_record_names_is_refused(tmp_path: Path) -> None:
    one = make_spec(tmp_path, "classification", some_rows("classification", 8), base_digest="0" * 64)
    code, events = run(one)
    assert code == 1
    (failed,) = named(events, "failed")
    assert failed["reason"] == "BASE_MISSING"
    assert "is another by now" in failed["message"]
