"""What a step does to the weights: the same whatever parts it is computed in; and what ends a run there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.finetuning.spec import EXIT_FAILED, EXIT_FINISHED
from services.finetuning.training.failures import TrainingFailed
from shared.modeling.kinds import KINDS
from shared.modeling.kinds.classification import Classification
from shared.modeling.kinds.embedding import Embedding
from tests.support.steps import Steps, make_steps
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Of all tensors together, as a share of their size."""
    assert one.keys() == other.keys()
    size = sum(float(value.double().square().sum()) for value in one.values())
    apart = sum(float((value.double() - other[name].double()).square().sum()) for name, value in one.items())
    assert size > 0
    return float((apart / size) ** 0.5)


@pytest.mark.parametrize("kind", ["classification", "chat"])
@pytest.mark.parametrize("name", ["full", "lora"])
def test_accumulated_batches_are_one_full_batch(tmp_path: Path, kind: str, name: str) -> None:
    """Of rows with as different lengths and numbers of learnt tokens as there are."""
    rows = some_rows(kind, 12)
    whole, parts = (make_steps(tmp_path / str(at), kind, rows, {"name": name}) for at in range(2))
    one = whole.take(whole.examples)
    other = parts.take(parts.examples[:1], parts.examples[1:8], parts.examples[8:])
    assert other.loss == pytest.approx(one.loss, rel=1e-6)
    assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-5)
    assert _distance(whole.gradients, parts.gradients) < 1e-5
    if kind == "chat":
        assert len({example.weight for example in whole.examples}) > 1


def test_gradients_are_cut_to_the_norm_that_is_allowed(tmp_path: Path) -> None:
    rows = some_rows("classification", 8)
    steps = make_steps(tmp_path, "classification", rows, {"max_gradient_norm": 1e-4})
    taken = steps.take(steps.examples)
    assert taken.gradient_norm > 1e-3
    assert float(torch.cat([value.flatten() for value in steps.gradients.values()]).norm()) == pytest.approx(
        1e-4, rel=1e-3
    )


def test_label_smoothing_takes_its_share_from_the_target(tmp_path: Path) -> None:
    """Two classes and smoothing s: (1 - s/2) of the target's loss, s/2 of the other's."""
    rows = some_rows("classification", 6)
    plain, smooth = (
        make_steps(tmp_path / str(share), "classification", rows, {"label_smoothing": share}) for share in (0.0, 0.2)
    )
    with torch.no_grad():
        batch = plain.material.batch(plain.examples)
        right = float(plain.material.kind.loss(plain.material.model, batch)) / 6
        wrong = float(plain.material.kind.loss(plain.material.model, {**batch, "targets": 1 - batch["targets"]})) / 6
    assert plain.take(plain.examples).loss == pytest.approx(right)
    assert smooth.take(smooth.examples).loss == pytest.approx(0.9 * right + 0.1 * wrong)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("classification", {}),
        ("classification", {"name": "last_layers", "layers": 1, "precision": "bfloat16"}),
        ("chat", {"precision": "bfloat16"}),
        ("chat", {"name": "lora", "lora_dropout": 0.2}),
        ("chat", {"name": "dora", "base_precision": "int8", "precision": "bfloat16"}),
    ],
)
def test_layers_computed_twice_give_the_same_bytes(tmp_path: Path, kind: str, method: dict[str, Any]) -> None:
    """With dropout, whose masks have to come back as well."""
    found = []
    for twice in (False, True):
        folder = tmp_path / str(twice)
        keys = {"dropout": 0.1, "gradient_checkpointing": twice, "epochs": 1, **method}
        spec = make_spec(folder, kind, some_rows(kind, 12), keys)
        assert run(spec)[0] == EXIT_FINISHED
        found.append(weights_of(spec.output_dir))
    assert found[0] == found[1]


def test_layers_are_really_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    forward: Any = LlamaMLP.forward
    calls: list[int] = []

    def counted(self: Any, x: Tensor) -> Tensor:
        if self.training:
            calls.append(1)
        found: Tensor = forward(self, x)
        return found

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    counts = []
    for twice in (False, True):
        calls.clear()
        keys = {"gradient_checkpointing": twice, "epochs": 1}
        assert run(make_spec(tmp_path / str(twice), "chat", some_rows("chat", 8), keys))[0] == EXIT_FINISHED
        counts.append(len(calls))
    assert counts[1] == 2 * counts[0] > 0


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_the_models_own_unless_another_is_asked_for(tmp_path: Path, rate: float) -> None:
    """Of an encoder, whose own rate is 0.1, and a decoder, whose own is none."""
    for kind in ("classification", "chat"):
        found = []
        for dropout in (None, rate):
            folder = tmp_path / kind / str(dropout)
            spec = make_spec(folder, kind, some_rows(kind, 8), {"dropout": dropout, "epochs": 1})
            assert run(spec)[0] == EXIT_FINISHED
            found.append(weights_of(spec.output_dir))
        own = 0.1 if kind == "classification" else 0.0
        assert (found[0] == found[1]) == (rate == own)


def _break(monkeypatch: pytest.MonkeyPatch, gradient_only: bool) -> None:
    """A loss that is no number once, or one whose gradient is none."""
    calls = []
    loss = Classification.loss

    def broken(self: Any, model: Any, batch: Any, smoothing: float = 0.0) -> Tensor:
        calls.append(1)
        found = loss(self, model, batch, smoothing)
        if len(calls) != 3:
            return found
        # The root of nothing is nothing, but its slope is infinite.
        return found + (found * 0).sqrt() if gradient_only else found * float("nan")

    monkeypatch.setattr(Classification, "loss", broken)


@pytest.mark.parametrize("gradient_only", [False, True])
def test_what_is_no_number_ends_the_run_and_names_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gradient_only: bool
) -> None:
    _break(monkeypatch, gradient_only)
    spec = make_spec(tmp_path, "classification", some_rows("classification", 16), checkpoint_every_steps=1)
    code, events = run(spec)
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert failed["reason"] == "NOT_FINITE"
    assert "at step 3" in failed["message"]
    assert ("loss nan" in failed["message"]) != gradient_only
    assert "gradient norm nan" in failed["message"]
    calm = make_spec(tmp_path, "classification", some_rows("classification", 16), work_dir=tmp_path / "other")
    monkeypatch.undo()
    run(calm)
    third = (calm.work_dir / "rows.log").read_text().splitlines()[2]
    named_rows = failed["message"].rpartition("on rows ")[2].split(", ")
    assert len(named_rows) == 4
    assert all(f'"{row}"' in third for row in named_rows)


def _small_machine(monkeypatch: pytest.MonkeyPatch, kind: type, rows: int, backward: bool = False) -> list[int]:
    """Memory for so many rows: the allocator's error comes where a batch is computed and is of the class that CUDA's
    allocator raises, which is all that the loop sees of a machine that is too small. Gives the sizes that were tried.
    """
    tried: list[int] = []
    loss = kind.loss  # type: ignore[attr-defined]

    def fail(_: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def limited(self: Any, model: Any, batch: Any, smoothing: float = 0.0) -> Tensor:
        if not model.training:  # a look at single rows for the report
            return loss(self, model, batch, smoothing)  # type: ignore[no-any-return]
        tried.append(len(batch["input_ids"]))
        found: Tensor = loss(self, model, batch, smoothing)
        if tried[-1] > rows:
            if not backward:
                fail(found)
            hooked: Any = found
            hooked.register_hook(fail)
        return found

    monkeypatch.setattr(kind, "loss", limited)
    return tried


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_without_memory_is_computed_in_halves_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, backward: bool
) -> None:
    rows = some_rows("classification", 12)
    method = {"precision": precision}
    roomy = make_steps(tmp_path / "roomy", "classification", rows, method)
    wanted = roomy.take(roomy.examples[:4], roomy.examples[4:])
    tried = _small_machine(monkeypatch, Classification, 4, backward)
    tight = make_steps(tmp_path / "tight", "classification", rows, method)
    taken = tight.take(tight.examples[:4], tight.examples[4:])
    assert tried == [4, 8, 4, 4, 4]
    assert taken.micro_batch == 4
    assert wanted.micro_batch is None
    assert taken.loss == pytest.approx(wanted.loss, rel=1e-5 if precision == "float32" else 1e-2)
    assert _distance(roomy.gradients, tight.gradients) < (1e-5 if precision == "float32" else 2e-2)
    tight.take(tight.examples[:4], tight.examples[4:], step=1, micro_batch=taken.micro_batch)
    assert tried[5:] == [4, 4, 4]


def test_halving_goes_on_until_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = _small_machine(monkeypatch, Classification, 1)
    steps = make_steps(tmp_path, "classification", some_rows("classification", 6))
    assert steps.take(steps.examples).micro_batch == 1
    assert tried == [6, 3, 1, 1, 1, 1, 1, 1]


def test_a_row_that_does_not_fit_alone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _small_machine(monkeypatch, Classification, 0)
    spec = make_spec(tmp_path, "classification", some_rows("classification", 4), {"batch_size": 4})
    code, events = run(spec)
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert failed["reason"] == "OUT_OF_MEMORY"
    assert "row row-000" in failed["message"]
    assert "max_length" in failed["message"]


def test_rows_that_are_compared_with_one_another_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, kind in KINDS.items() if kind.whole_batches] == ["embedding"]
    rows = [
        {"row_id": f"row-{at}", "query": f"film {at}", "positives": [f"door {at}"], "negatives": []} for at in range(4)
    ]
    _small_machine(monkeypatch, Embedding, 2)
    steps = make_steps(tmp_path, "embedding", rows)
    with pytest.raises(TrainingFailed, match="batch_size") as failed:
        steps.take(steps.examples)
    assert failed.value.reason == "OUT_OF_MEMORY"


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    steps: Steps = make_steps(tmp_path, "classification", some_rows("classification", 4))
    steps.material.model.set_input_embeddings(torch.nn.Embedding(2, 32))
    with pytest.raises(IndexError):
        steps.take(steps.examples)


def test_a_run_on_a_small_machine_is_resumed_exactly_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that did not fit is remembered: no later step, and no later attempt, tries it again."""
    rows = some_rows("classification", 24) + some_rows("classification", 4, "validation", 100)
    tried = _small_machine(monkeypatch, Classification, 2)
    calm = make_spec(tmp_path, "classification", rows, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    code, events = run(calm)
    assert code == EXIT_FINISHED
    assert tried.count(4) == 1
    (told,) = (event["message"] for event in named(events, "log"))
    assert "out of memory at step 1: 2 rows at a time" in told
    assert named(events, "progress")[-1]["micro_batch"] == 2
    tried.clear()
    spec = make_spec(tmp_path, "classification", rows)
    run(spec, StopAfter(3))
    run(spec, StopAfter(4))
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert tried.count(4) == 1
    assert not named(events, "log")
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)
    assert (spec.work_dir / "rows.log").read_bytes() == (calm.work_dir / "rows.log").read_bytes()


@pytest.mark.parametrize("dropped_at", [1, 4])
def test_when_memory_ran_out_makes_no_difference_but_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped_at: int
) -> None:
    rows = some_rows("classification", 24)
    roomy = make_steps(tmp_path / "roomy", "classification", rows)
    tight = make_steps(tmp_path / "tight", "classification", rows)
    micro_batch = None
    for step in range(6):
        batch = roomy.examples[step * 4 : step * 4 + 4]
        roomy.take(batch, step=step)
    for step in range(6):
        if step == dropped_at:
            _small_machine(monkeypatch, Classification, 2)
        batch = tight.examples[step * 4 : step * 4 + 4]
        micro_batch = tight.take(batch, step=step, micro_batch=micro_batch).micro_batch
    assert micro_batch == 2
    assert _distance(roomy.values(), tight.values()) < 1e-5


def test_validation_without_memory_takes_smaller_batches_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training's batches stay as they are."""
    import shared.modeling.kinds.classification as module

    sizes: list[int] = []
    logits_of = module.logits_of

    def limited(model: Any, batch: Any) -> Tensor:
        if not model.training:
            sizes.append(len(batch["input_ids"]))
            if sizes[-1] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits_of(model, batch)

    monkeypatch.setattr(module, "logits_of", limited)
    rows = some_rows("classification", 8) + some_rows("classification", 4, "validation", 100)
    code, events = run(make_spec(tmp_path, "classification", rows))
    assert code == EXIT_FINISHED
    assert [event["message"].rpartition(": ")[2] for event in named(events, "log")] == [
        "2 rows at a time from now on",
        "1 rows at a time from now on",
    ]
    assert [size for size in sizes if size > 1] == [4, 2]
    assert len(named(events, "validation")) == 2
    assert "micro_batch" not in named(events, "progress")[-1]


def test_validation_that_fits_no_row_fails_and_names_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(*_: Any) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Classification, "score", score)
    rows = some_rows("classification", 8) + some_rows("classification", 4, "validation", 100)
    code, events = run(make_spec(tmp_path, "classification", rows))
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert failed["reason"] == "OUT_OF_MEMORY"
    assert "row-010" in failed["message"]
    assert "validation at step 2" in failed["message"]
