"""Judging label sets, choices among texts and vectors: the numbers of established libraries, and hostile models."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    label_ranking_average_precision_score,
    log_loss,
    ndcg_score,
    top_k_accuracy_score,
)

from services.evaluation.bootstrap import paired_bootstrap
from services.evaluation.kinds import find_kind
from services.evaluation.kinds.choosing import JudgedChoosing, loss, ndcg, places, recall
from services.evaluation.kinds.classification import JudgedClassification
from services.evaluation.statistics import set_f1
from shared.modeling.loading import LoadedModel, load_base, load_model
from shared.modeling.predict import classify, embed, score_pairs
from shared.pipelines.kinds import METRICS
from shared.pipelines.options import Options
from tests.support.tiny_models import CORPUS, tiny_base, tiny_model

LABELS = ("bad", "cheap", "good")
MULTI = Options(multi_label=True, threshold=0.4)
WORDS = sorted({word for line in CORPUS for word in line.split()})
CHOOSING = ("answer_selection", "ranking", "embedding")


def quiet(work: int) -> None:
    """A step that nobody listens to."""


def sets(count: int, seed: int) -> list[frozenset[str]]:
    chance = random.Random(seed)
    return [frozenset(label for label in LABELS if chance.random() < 0.4) for _ in range(count)]


def retrieval_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "row_id": f"{number:03d}",
            "query": f"where is {WORDS[number]}",
            "positives": [f"{WORDS[number]} is here"] + ([f"see {WORDS[number]}"] if number % 3 == 0 else []),
            "negatives": [f"{WORDS[-number - 1]} is gone"] if number % 2 else [],
        }
        for number in range(count)
    ]


def question_rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(0)
    return [
        {
            "row_id": f"{number:03d}",
            "question": f"what about {number}?",
            "candidates": chance.sample(WORDS, 2 + number % 4),
            "answer": number % 2,
        }
        for number in range(count)
    ]


def rows_of(kind: str, count: int = 24) -> list[dict[str, Any]]:
    return question_rows(count) if kind == "answer_selection" else retrieval_rows(count)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    folder = tmp_path_factory.mktemp("models")
    made = {kind: load_model(tiny_model(folder / kind, kind, LABELS, seed=3)) for kind in ("classification", *CHOOSING)}
    return made.__getitem__


def several(model: LoadedModel) -> LoadedModel:
    card = type(model.card)(**{**model.card.__dict__, "options": MULTI.chosen("classification")})
    return LoadedModel(model.model, model.tokenizer, card)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_of_label_sets_is_scikit_learns(average: Any) -> None:
    truth, guesses = sets(60, 1), sets(60, 2)
    wanted, given = ([[label in one for label in LABELS] for one in side] for side in (truth, guesses))
    assert set_f1(truth, guesses, average).value == pytest.approx(f1_score(wanted, given, average=average))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_of_empty_label_sets_is_not_defined(average: Any) -> None:
    assert math.isnan(set_f1([frozenset()] * 3, [frozenset()] * 3, average).value)


def test_a_set_is_right_when_it_is_the_whole_truth(loaded: Callable[[str], LoadedModel]) -> None:
    model, kind = several(loaded("classification")), find_kind("classification", MULTI)
    rows: list[dict[str, Any]] = [
        {"row_id": f"{number}", "text": line, "label": None, "labels": sorted(labels), "text_pair": pair}
        for number, (line, labels, pair) in enumerate(
            zip(WORDS[:24], sets(24, 5), [None, "good film"] * 12, strict=True)
        )
    ]
    outputs = kind.predict(model, rows, quiet)
    inputs = [(row["text"], row["text_pair"]) if row["text_pair"] else row["text"] for row in rows]
    chances = np.array(classify(model, inputs))
    truth, guess = (
        np.array([[label in row["labels"] for label in LABELS] for row in rows]),
        chances >= MULTI.threshold,
    )
    measured = {name: measure.value for name, measure in kind.measures(rows, outputs).items()}
    assert measured.keys() == METRICS["classification"].keys()
    assert measured["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert measured["micro_f1"] == pytest.approx(f1_score(truth, guess, average="micro"))
    by_label = [log_loss(truth[:, at], chances[:, at], labels=[False, True]) for at in range(3)]
    assert measured["loss"] == pytest.approx(sum(by_label), rel=1e-4)
    detail = kind.detail(rows, {"candidate": outputs})
    assert "confusion" not in detail
    assert detail["per_class"]["good"]["support"] == truth[:, 2].sum()
    assert [line[0] for line in detail["tables"][0]["rows"]] == sorted(
        LABELS, key=lambda label: (-detail["per_class"][label]["support"], label)
    )
    assert kind.unknown_classes([*rows, {**rows[0], "labels": ["good", "new"]}], outputs) == {"new": 1}
    assert kind.outputs_format != JudgedClassification().outputs_format


def test_one_label_is_judged_as_a_set_of_one(loaded: Callable[[str], LoadedModel]) -> None:
    kind, model = find_kind("classification"), loaded("classification")
    rows = [{"row_id": str(n), "text": word, "label": LABELS[n % 3]} for n, word in enumerate(WORDS[:20])]
    outputs = kind.predict(model, rows, quiet)
    measured = {name: measure.value for name, measure in kind.measures(rows, outputs).items()}
    chances = np.array(classify(model, [row["text"] for row in rows]))
    truth, guess = [row["label"] for row in rows], [LABELS[best] for best in chances.argmax(1)]
    assert outputs["guess"] == guess
    assert measured["accuracy"] == measured["micro_f1"] == accuracy_score(truth, guess)
    assert measured["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))
    assert measured["weighted_f1"] == pytest.approx(f1_score(truth, guess, average="weighted"))
    shares = chances / chances.sum(axis=1, keepdims=True)  # to the last bit, as scikit-learn wants it
    assert measured["loss"] == pytest.approx(log_loss(truth, shares, labels=list(LABELS)), rel=1e-5)
    detail = kind.detail(rows, {"candidate": outputs, "champion": outputs})
    assert np.sum(detail["confusion"]["matrix"]) == len(rows)
    assert detail["mcnemar"]["p_value"] == 1.0


def test_places_and_what_follows_from_them_are_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    for _ in range(30):
        right, wrong = chance.normal(size=chance.integers(1, 5)), chance.normal(size=chance.integers(1, 30))
        scores = np.concatenate([right, wrong])[None]
        truth = np.array([[1] * len(right) + [0] * len(wrong)])
        found = places(right, wrong)
        assert ndcg(found) == pytest.approx(ndcg_score(truth, scores, k=10))
        if len(right) == 1:
            assert 1 / found[0] == pytest.approx(label_ranking_average_precision_score(truth, scores))
            labels = range(scores.shape[1])
            if scores.shape[1] > 10:
                assert recall(found, 10) == top_k_accuracy_score([0], scores, k=10, labels=labels)
        expected = [-torch.tensor([one, *wrong]).log_softmax(0)[0].item() for one in right]
        assert loss(right, wrong) == pytest.approx(np.mean(expected))


def test_a_model_that_tells_nothing_apart_or_gives_nan_comes_last() -> None:
    same, nan = np.zeros(4), np.full(1, np.nan)
    assert places(np.zeros(1), same) == [5]
    assert places(nan, same) == [5]
    assert places(np.ones(1), np.array([0.0, np.nan])) == [2]
    assert math.isnan(loss(nan, same))


@pytest.mark.parametrize("kind", CHOOSING)
def test_rows_are_judged_among_the_same_candidates_by_the_scores_that_are_served(
    loaded: Callable[[str], LoadedModel], kind: str
) -> None:
    judged, model, rows = find_kind(kind), loaded(kind), rows_of(kind)
    assert isinstance(judged, JudgedChoosing)
    done: list[int] = []
    outputs = judged.predict(model, rows, done.append)
    assert sum(done) == judged.work(rows)
    for place, (one, row) in enumerate(zip(judged.candidates(rows), rows, strict=True)):
        assert set(one.right).isdisjoint(one.wrong)
        assert len(set(one.wrong)) == len(one.wrong) == outputs["wrong"][place] > 0
        texts = [*one.right, *one.wrong]
        if kind == "embedding":
            vectors = embed(model, [one.query, *texts])
            scores = vectors[1:] @ vectors[0] / 0.05
        else:
            scores = np.array([score_pairs(model, [(one.query, text)])[0] for text in texts])
        right, wrong = np.split(scores, [len(one.right)])
        # Ranks of rows whose scores are further apart than rounding.
        if np.abs(right[:, None] - wrong).min() > 1e-3:
            assert outputs["places"][place] == places(right, wrong)
        assert outputs["loss"][place] == pytest.approx(loss(right, wrong), rel=1e-2, abs=1e-3)
        assert set(one.right) == set(row["positives"] if "positives" in row else [row["candidates"][row["answer"]]])
    assert judged.candidates(rows) == judged.candidates(list(reversed(rows)))[::-1]
    measures = judged.measures(rows, outputs)
    assert measures.keys() == METRICS[kind].keys()
    interval = paired_bootstrap(
        measures["mrr"], measures["mrr"], higher_is_better=True, confidence=0.9, seed=0, resamples=100
    )
    assert interval.difference == interval.low == 0.0


@pytest.mark.parametrize("kind", CHOOSING)
def test_the_report_shows_places_and_samples(loaded: Callable[[str], LoadedModel], kind: str) -> None:
    judged, rows = find_kind(kind), rows_of(kind)
    outputs = judged.predict(loaded(kind), rows, quiet)
    detail = judged.detail(rows, {"candidate": outputs, "champion": outputs})
    (table,) = detail["tables"]
    assert table["columns"] == ["place", "champion", "candidate"]
    assert sum(line[2] for line in table["rows"]) == len(rows)
    assert detail["samples"][0].keys() == {"row_id", "query", "reference", "candidate", "champion"}
    assert 0 < detail["candidates"]["right_by_chance"] < 1


@pytest.mark.parametrize("kind", ["ranking", "embedding"])
def test_a_text_that_is_right_for_the_query_in_another_row_is_no_wrong_candidate(kind: str) -> None:
    rows = [*retrieval_rows(22), {"row_id": "x", "query": "Where IS a", "positives": ["also a"], "negatives": []}]
    rows[1]["query"], rows[2]["query"] = "where is a", "somewhere else"
    rows[2]["positives"] = list(rows[1]["positives"])
    judged = find_kind(kind)
    assert isinstance(judged, JudgedChoosing)
    lists = {row["row_id"]: one for row, one in zip(rows, judged.candidates(rows), strict=True)}
    assert "also a" not in lists["001"].wrong
    assert not set(rows[1]["positives"]) & (set(lists["x"].wrong) | set(lists["002"].wrong))


@pytest.mark.parametrize("kind", ["ranking", "embedding"])
def test_rows_with_nothing_to_tell_apart_leave_the_metrics_undefined(
    loaded: Callable[[str], LoadedModel], kind: str
) -> None:
    rows = [{"row_id": str(n), "query": f"q {n}", "positives": ["the same"], "negatives": []} for n in range(20)]
    judged = find_kind(kind)
    outputs = judged.predict(loaded(kind), rows, quiet)
    assert all(math.isnan(measure.value) for measure in judged.measures(rows, outputs).values())
    assert judged.detail(rows, {"candidate": outputs})["candidates"]["right_by_chance"] == 1.0


def test_the_untouched_base_of_an_embedding_can_be_judged(tmp_path: Path) -> None:
    base = load_base(tiny_base(tmp_path / "base", "embedding"), "embedding", max_length=64)
    judged, rows = find_kind("embedding"), retrieval_rows(20)
    outputs = judged.predict(base, rows, quiet)
    assert all(math.isfinite(measure.value) for measure in judged.measures(rows, outputs).values())
    assert judged.judges_base
