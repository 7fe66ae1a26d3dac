"""A whole evaluation of an adapter: loss, perplexity, chrF and ROUGE-L before and after."""

from pathlib import Path

import pytest

from services.evaluation.kinds.chat import JudgedChat
from shared.modeling.loading import load_model
from shared.modeling.predict import score_chat
from shared.pipelines.kinds import METRICS
from shared.pipelines.options import Options
from shared.storage.database import Database
from tests.integration.evaluation.world import World, chat_rows
from tests.support.tiny_models import tiny_model

ANSWERED_ROWS = Options().answered_rows
RULES = {"base": {"metric": "loss"}}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    world = World(database, tmp_path, "chat", RULES)
    world.batch("first", chat_rows(ANSWERED_ROWS + 8))
    world.dataset(1, ["first"])
    return world


def test_an_adapter_is_judged_against_the_untouched_base(world: World, assistant: Path) -> None:
    report = world.judge(world.trained(assistant, 1))
    assert report.verdict == "pass"
    assert set(report.metrics) == set(report.base_metrics) == set(METRICS["chat"])
    assert report.metrics["loss"] < report.base_metrics["loss"]
    assert report.metrics["chrf"] > report.base_metrics["chrf"]
    assert report.detail["comparisons"]["base"]["low"] > 0
    held = world.evaluation(1)
    assert held.done == held.total == 2 * (ANSWERED_ROWS + 8 + ANSWERED_ROWS)


def test_the_report_shows_answers_before_and_after(world: World, assistant: Path) -> None:
    detail = world.judge(world.trained(assistant, 1)).detail
    assert detail["answered_rows"] == ANSWERED_ROWS
    sample = detail["samples"][0]
    assert sample["prompt"].startswith("what is the price")
    assert sample["reference"] == "it is ten coins for one"
    assert sample["candidate"].startswith(sample["reference"])
    assert sample["base"] != sample["candidate"]


def test_an_adapter_no_better_than_the_base_is_refused(world: World, tmp_path: Path) -> None:
    untaught = tiny_model(tmp_path / "untaught", "chat")
    report = world.judge(world.trained(untaught, 1))
    assert [reason["code"] for reason in report.reasons if not reason["passed"]] == ["WORSE_THAN_BASE"]
    assert report.detail["comparisons"]["base"]["difference"] == 0.0


def test_row_losses_add_up_to_the_models_loss(tmp_path: Path) -> None:
    loaded = load_model(tiny_model(tmp_path / "model", "chat"))
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "great service"},
        {"role": "user", "content": "the price?"},
        {"role": "assistant", "content": "it is ten coins for one and fifteen coins for two"},
    ]
    rows = [{"row_id": str(number), **row} for number, row in enumerate([*chat_rows(11), {"messages": turns}])]
    expected = score_chat(loaded, rows)
    outputs = JudgedChat().predict(loaded, rows, lambda work: None)
    assert sum(outputs["tokens"]) == expected.tokens
    assert sum(outputs["loss"]) / expected.tokens == pytest.approx(expected.loss, rel=1e-5)
