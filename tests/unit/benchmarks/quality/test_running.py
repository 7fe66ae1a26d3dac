"""The whole table on generated rows and tiny models."""

import json
from dataclasses import replace

import pytest

from benchmarks.quality import running
from benchmarks.quality import training as running_training
from benchmarks.quality.cells import Cells
from benchmarks.quality.contenders import Tools
from benchmarks.quality.prompting import load_writer
from benchmarks.quality.running import run_all
from benchmarks.quality.studies import Plan, Sizes, Study
from benchmarks.quality.table import summarise, to_markdown
from benchmarks.quality.training import trained_share
from shared.modeling.bases import BaseModel
from shared.modeling.digests import base_digest
from tests.support.tiny_models import tiny_adapter, tiny_decoder, tiny_encoder, tiny_model

LEARNING = {"learning_rate": 5e-3, "epochs": 4, "batch_size": 8, "max_length": 32}


def raw_rows(count, start):
    """The label is in the text; how often each occurs is not even."""
    words = ("good", "good", "bad")
    return [
        {"text": f"a {words[number % 3]} film number {number}", "label": words[number % 3]}
        for number in range(start, start + count)
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A data set, models, and a folder for everything else."""
    home = tmp_path_factory.mktemp("quality")
    folder = home / "data" / "films"
    folder.mkdir(parents=True)
    for side, rows in (("train", raw_rows(96, 0)), ("validation", raw_rows(60, 96))):
        (folder / f"{side}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_encoder(home / "base")
    tiny_decoder(home / "writer")
    (home / "work").mkdir()
    return home


@pytest.fixture
def study(home):
    sizes = Sizes(96, 60, 12)
    return Study(
        "films",
        "classification",
        "films",
        "accuracy",
        sizes,
        sizes,
        base=str(home / "base"),
        methods={"full": LEARNING},
    )


@pytest.fixture
def tools(home):
    return Tools(home / "bases", home / "work", 1, lambda: load_writer(str(home / "writer"), home / "bases"))


def test_ours_is_trained_judged_and_compared_and_nothing_is_done_twice(home, study, tools, monkeypatch):
    plan, cells = Plan(quick=False, seeds=(0,)), Cells(home / "cells")
    missing = replace(study, name="else", source="nowhere")
    results, left_out = run_all([study, missing], plan, home / "data", tools, cells)
    assert list(left_out) == ["else"]
    found = summarise(results[0])
    lines = {entry["name"]: entry for entry in found["contenders"]}
    assert list(lines) == ["majority", "tfidf-regression", "zero-shot", "few-shot", "full"]
    assert lines["majority"]["value"] == pytest.approx(2 / 3)
    assert lines["full"]["value"] > 0.9
    assert lines["majority"]["ahead_low"] > 0
    assert lines["few-shot"]["rows"] == 12
    assert lines["full"]["trained_share"] >= 0.9
    assert found["leader"] == "full"
    assert (found["train_rows"], found["test_rows"], found["left_out"]) == (96, 60, 0)

    def never(*_, **__):
        raise AssertionError("a finished cell is made again")

    monkeypatch.setattr("benchmarks.quality.training.run_training", never)
    again, _ = run_all([study], plan, home / "data", replace(tools, writer=never), cells)
    assert summarise(again[0]) == found
    assert "| **full** |" in to_markdown([found])


def test_a_run_that_fails_leaves_the_others_in_the_table(home, study, tools, monkeypatch):
    def give_up(spec, events, stop):
        events.send("failed", reason="OUT_OF_MEMORY", message="no memory")

    monkeypatch.setattr("benchmarks.quality.training.run_training", give_up)
    monkeypatch.setattr(running, "BASELINES", {"classification": running.BASELINES["classification"][:1]})
    results, _ = run_all([study], Plan(False, (5,)), home / "data", tools, Cells(home / "others"))
    assert [line.name for line in results[0].lines] == ["majority"]
    found = summarise(results[0])
    assert (found["absent"], found["leader"], found["aims"]) == (["films-full-5: no memory"], "", {})
    assert "absent: films-full-5: no memory" in to_markdown([found])


def test_a_run_that_fails_after_another_seed_leaves_out_its_contender(home, study, tools, monkeypatch):
    train = running_training.run_training

    def broken(spec, events, stop):
        if spec.seed == 12:
            events.send("failed", reason="OUT_OF_MEMORY", message="no memory")
            return 1
        return train(spec, events, stop)

    monkeypatch.setattr("benchmarks.quality.training.run_training", broken)
    plan = Plan(quick=False, seeds=(11, 12, 13))
    results, _ = run_all([study], plan, home / "data", tools, Cells(home / "cells"), ["full", "majority"])
    found = summarise(results[0])
    assert found["absent"] == ["films-full-12: no memory"]
    assert [one["name"] for one in found["contenders"]] == ["majority"]


def test_the_share_that_an_adapter_trains(home, tmp_path):
    folder = home / "writer"
    adapter = tiny_adapter(tmp_path / "adapter", BaseModel(str(folder), folder, base_digest(folder)))
    assert 0.01 < trained_share(adapter, folder) < 0.5


def test_tensors_that_training_left_alone_are_not_counted(tmp_path):
    model = tiny_model(tmp_path / "model", "classification")
    base = tmp_path / "model-base"
    assert trained_share(base, base) == 0.0
    assert 0 < trained_share(model, base) < 0.2
