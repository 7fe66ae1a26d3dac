"""How much each label counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from services.finetuning.spec import EXIT_FAILED, EXIT_FINISHED
from services.finetuning.training.examples.class_weights import class_weights
from services.finetuning.training.failures import TrainingFailed
from shared.modeling.kinds.base import IGNORED, Example
from shared.pipelines.kinds import KINDS
from shared.pipelines.methods import METHODS, resolve_method
from shared.pipelines.options import Options
from tests.support.steps import make_steps
from tests.support.training_runs import make_spec, named, run, some_rows


def _examples(*targets: list[int]) -> list[Example]:
    return [Example((str(at),), [1], target, len(target)) for at, target in enumerate(targets)]


def test_by_default_all_count_alike() -> None:
    assert class_weights("none", ("a", "b"), _examples([0], [1]), False) is None


def test_balanced_labels_weigh_the_same_in_sum_and_predictions_1_on_average() -> None:
    """One that is declared but never occurs changes nothing for the others."""
    found = class_weights("balanced", ("a", "b", "never"), _examples([0], [0], [0], [1]), False)
    assert found is not None
    assert found[:2].tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])


def test_given_weights_keep_their_proportions() -> None:
    found = class_weights({"b": 3.0}, ("a", "b"), _examples([0], [1]), False)
    assert found is not None
    assert found.tolist() == pytest.approx([0.5, 1.5])


def test_presence_of_several_labels_weighs_against_absence() -> None:
    examples = _examples([0], [0, 1], [0], [0])
    found = class_weights("balanced", ("always", "once", "never"), examples, True)
    assert found is not None
    assert found.tolist() == [1.0, 3.0, 1.0]
    given = class_weights({"once": 5.0}, ("always", "once", "never"), examples, True)
    assert given is not None
    assert given.tolist() == [1.0, 5.0, 1.0]


def test_entities_are_weighed_by_their_name_or_by_tag() -> None:
    labels = ("O", "B-X", "I-X", "B-Y", "I-Y")
    examples = _examples([0, 0, 1, 2, IGNORED, 3])
    found = class_weights({"X": 2.0, "B-Y": 4.0}, labels, examples, False)
    assert found is not None
    assert (found / found[0]).tolist() == pytest.approx([1.0, 2.0, 2.0, 4.0, 1.0])
    balanced = class_weights("balanced", labels, examples, False)
    assert balanced is not None
    assert (balanced / balanced[0])[:4].tolist() == pytest.approx([1.0, 2.0, 2.0, 2.0])


def test_a_label_that_there_is_not_is_refused() -> None:
    with pytest.raises(TrainingFailed, match=r"'c'.*a, b") as failed:
        class_weights({"c": 1.0}, ("a", "b"), _examples([0], [1]), False)
    assert failed.value.reason == "BAD_SPEC"


def _relations(count: int) -> list[dict[str, Any]]:
    spans = {"head_start": 0, "head_end": 3, "tail_start": 10, "tail_end": 15}
    return [
        {"row_id": f"row-{at}", "split": "train", "text": "the quick brown fox", "label": f"r{int(at % 3 == 0)}"}
        | spans
        for at in range(count)
    ]


def _tagged(count: int) -> list[dict[str, Any]]:
    return [
        {"row_id": f"row-{at}", "split": "train", "tokens": ["the", "fox", "jumps"], "tags": ["O", "B-X", "O"]}
        for at in range(count)
    ]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("classification", some_rows("classification", 5)),
        ("relation_extraction", _relations(5)),
        ("token_classification", _tagged(2)),
    ],
)
def test_weights_reach_the_loss_but_not_the_score(tmp_path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    """Only the first label counts."""
    steps = make_steps(tmp_path, kind, rows)
    found, model = steps.material.kind, steps.material.model
    batch = steps.material.batch(steps.examples)
    with torch.no_grad():
        logits = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits.float()
        labels = logits.shape[-1]
        targets = batch["targets"].flatten()
        each = functional.cross_entropy(logits.reshape(-1, labels), targets, ignore_index=IGNORED, reduction="none")
        wanted = float(each[targets == 0].sum())
        before = found.score(model, steps.examples, steps.material.pad_id, 4)
        found.class_weights = torch.tensor([1.0] + [1e-9] * (labels - 1))
        assert float(found.loss(model, batch)) == pytest.approx(wanted, rel=1e-4)
        assert found.score(model, steps.examples, steps.material.pad_id, 4) == before


def test_weights_of_several_labels_weigh_what_is_there(tmp_path: Path) -> None:
    rows = [
        {"row_id": f"row-{at}", "split": "train", "text": "a good film", "label": "", "labels": labels}
        for at, labels in enumerate([["a"], ["a", "b"], ["b"], []])
    ]
    steps = make_steps(tmp_path, "classification", rows, options=Options(multi_label=True))
    batch, model = steps.material.batch(steps.examples), steps.material.model
    with torch.no_grad():
        plain = float(steps.material.kind.loss(model, batch))
        steps.material.kind.class_weights = torch.tensor([1.0, 3.0])
        weighed = float(steps.material.kind.loss(model, batch))
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    extra = 2 * float(functional.softplus(-logits[1:3, 1]).sum())
    assert weighed == pytest.approx(plain + extra, rel=1e-4)


def test_a_rare_label_is_found_when_it_counts_as_much(tmp_path: Path) -> None:
    """Of 40 texts that say nothing, two are rare: without weights the model always gives the other label."""
    rows = [
        {"row_id": f"row-{at:02d}", "split": "train", "text": "the fox", "label": "rare" if at % 20 == 0 else "common"}
        for at in range(40)
    ]
    shares = []
    for weights in ("none", "balanced"):
        method = {"class_weights": weights, "learning_rate": 0.05, "batch_size": 40}
        steps = make_steps(tmp_path / weights, "classification", rows, method)
        found = class_weights(weights, ("common", "rare"), steps.examples, False)
        steps.material.kind.class_weights = found
        for step in range(60):
            steps.take(steps.examples, step=step % 10)
        with torch.no_grad():
            batch = steps.material.batch(steps.examples[:1])
            logits = steps.material.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        shares.append(float(logits.softmax(-1)[0, 1]))
    assert shares[0] < 0.2
    assert shares[1] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("weights", ["balanced", {"label-0": 2.0}])
def test_a_run_takes_them_from_its_pipeline(tmp_path: Path, weights: Any) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 9), {"class_weights": weights})
    again = type(spec).from_json(spec.to_json())
    assert again.method.class_weights == weights
    assert again.identity("") != make_spec(tmp_path, "classification", some_rows("classification", 9)).identity("")
    assert run(again)[0] == EXIT_FINISHED


def test_a_run_refuses_a_label_that_it_does_not_learn(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 9), {"class_weights": {"nobody": 2.0}})
    code, events = run(spec)
    assert code == EXIT_FAILED
    assert named(events, "failed")[0]["reason"] == "BAD_SPEC"
    assert "nobody" in named(events, "failed")[0]["message"]


@pytest.mark.parametrize("kind", [kind for kind, facts in KINDS.items() if not facts.labelled])
def test_kinds_without_labels_have_none_to_weigh(kind: str) -> None:
    name = next(method for of, method in METHODS if of == kind)
    with pytest.raises(ValueError, match="no labels"):
        resolve_method(kind, {"name": name, "class_weights": "balanced"})


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), "much"])
def test_a_weight_is_a_number_above_nothing(weight: Any) -> None:
    with pytest.raises(ValueError, match="class_weights"):
        resolve_method("classification", {"class_weights": {"a": weight}})
