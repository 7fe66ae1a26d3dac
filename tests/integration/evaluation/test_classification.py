"""A whole evaluation of a classifier: from the message to report, verdict and what follows."""

from pathlib import Path

import pytest

from services.evaluation import gate
from shared.contracts.routes import CONSIDER_VERDICT
from shared.storage.database import Database
from shared.storage.tables import Report
from tests.integration.evaluation.world import World, sentiment_rows

RULES = {"floors": {"accuracy": 0.8}, "champion": {"metric": "accuracy", "margin": 0.02}}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Dataset version 1 holds the batch `first`."""
    world = World(database, tmp_path, "classification", RULES)
    world.batch("first", sentiment_rows(40))
    world.dataset(1, ["first"])
    return world


def failures(report: Report) -> list[str]:
    return [reason["code"] for reason in report.reasons if not reason["passed"]]


def test_a_good_first_version_is_blessed_and_control_is_told(world: World, good: Path) -> None:
    report = world.judge(world.trained(good, 1))
    assert (report.verdict, failures(report), report.worse_than_champion) == ("pass", [], False)
    assert report.metrics["accuracy"] == 1.0
    assert (report.test_rows, report.champion, report.dataset_version) == (40, None, 1)
    assert world.state(1) == "blessed"
    assert world.sent(CONSIDER_VERDICT.task) == 1
    held = world.evaluation(1)
    assert (held.state, held.report, held.done, held.total) == ("succeeded", report.id, 40, 40)
    assert (held.owner, held.lease_expires_at) == (None, None)


def test_the_report_shows_classes_confusion_and_the_majority(world: World, good: Path) -> None:
    detail = world.judge(world.trained(good, 1)).detail
    assert detail["confusion"] == {"labels": ["bad", "good"], "matrix": [[20, 0], [0, 20]]}
    assert detail["per_class"]["good"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 20}
    assert detail["majority"]["accuracy"] == 0.5


def test_below_the_floor_is_refused_with_the_figures(world: World, spoiled: Path) -> None:
    report = world.judge(world.trained(spoiled, 1))
    assert (report.verdict, failures(report)) == ("fail", [gate.BELOW_FLOOR])
    assert world.state(1) == "refused"
    assert "accuracy 0.0000; at least 0.8 is asked for" in [reason["message"] for reason in report.reasons]


def test_a_version_from_a_spoiled_batch_is_judged_by_the_champions_rows_only(
    world: World, good: Path, spoiled: Path
) -> None:
    first = world.judge(world.trained(good, 1))
    world.crown(1)
    world.batch("flipped", sentiment_rows(60, start=100, flipped=True))
    world.dataset(2, ["first", "flipped"])
    report = world.judge(world.trained(spoiled, 2))
    assert (report.test_rows, report.test_digest) == (40, first.test_digest)
    assert failures(report) == [gate.BELOW_FLOOR, gate.WORSE_THAN_CHAMPION]
    assert report.worse_than_champion
    assert (report.champion, report.champion_metrics["accuracy"]) == (1, 1.0)
    assert report.detail["mcnemar"]["only_reference_right"] == 40
    assert report.detail["comparisons"]["champion"]["low"] == pytest.approx(-1.0)


def test_an_equal_version_passes_within_the_margin(world: World, good: Path) -> None:
    world.judge(world.trained(good, 1))
    world.crown(1)
    world.batch("more", sentiment_rows(20, start=100))
    world.dataset(2, ["first", "more"])
    report = world.judge(world.trained(good, 2))
    assert (report.verdict, report.test_rows) == ("pass", 40)


def test_rows_of_a_batch_that_was_once_held_never_judge(world: World, good: Path) -> None:
    world.batch("released", sentiment_rows(30, start=200, flipped=True), may_judge=False)
    world.dataset(2, ["first", "released"])
    report = world.judge(world.trained(good, 2))
    assert (report.test_rows, report.metrics["accuracy"]) == (40, 1.0)


def test_train_rows_never_judge(world: World, good: Path) -> None:
    world.batch("training", sentiment_rows(30, start=300, flipped=True, split="train"))
    world.dataset(2, ["first", "training"])
    assert world.judge(world.trained(good, 2)).test_rows == 40


def test_without_test_rows_the_gate_stays_shut(world: World, good: Path) -> None:
    world.batch("training", sentiment_rows(30, split="train"))
    world.dataset(2, ["training"])
    report = world.judge(world.trained(good, 2))
    assert failures(report) == [gate.NO_TEST_ROWS, gate.MISSING_METRIC]
    assert report.metrics == {}


def test_a_class_never_seen_in_training_is_named(world: World, good: Path) -> None:
    strange = [{"text": f"so so {number}", "label": "mixed", "split": "test"} for number in range(3)]
    world.batch("strange", strange)
    world.dataset(2, ["first", "strange"])
    report = world.judge(world.trained(good, 2))
    assert failures(report) == [gate.UNKNOWN_CLASS]
    assert report.detail["confusion"]["labels"] == ["bad", "good", "mixed"]


def test_the_champion_is_not_computed_again_on_equal_rows(world: World, good: Path, spoiled: Path) -> None:
    world.judge(world.trained(good, 1))
    world.crown(1)
    world.forget_weights(1)
    assert world.judge(world.trained(spoiled, 1)).champion_metrics["accuracy"] == 1.0
