"""Entities, relations and answers: a model's outputs, and figures equal to those of the field's scorers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from services.evaluation.frozen import Row
from services.evaluation.kinds import find_kind
from services.evaluation.kinds.answer_overlap import by_characters, exact_match, longest_common_part, span_f1
from services.evaluation.kinds.base import Outputs
from services.evaluation.kinds.relation_extraction import directed_f1
from shared.modeling.card import ModelCard
from shared.modeling.kinds import find_kind as find_modelled
from shared.modeling.kinds.markers import directed_macro_f1
from shared.modeling.loading import LoadedModel, load_tokenizer
from shared.pipelines.kinds import METRICS
from shared.report import detail as report
from shared.rows.tags import to_iob2
from tests.support.learning import learn_by_heart
from tests.support.tiny_models import tiny_encoder

TAG = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
PAIR = st.lists(st.tuples(TAG, TAG), min_size=1, max_size=12)
LABEL = st.sampled_from(["A(e1,e2)", "A(e2,e1)", "B(e1,e2)", "C", "Other"])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("bases") / "encoder")


def taught(encoder: Path, kind_name: str, rows: list[Row], labels: tuple[str, ...], length: int = 64) -> LoadedModel:
    """A model that knows the rows by heart."""
    kind, tokenizer = find_modelled(kind_name), load_tokenizer(encoder)
    torch.manual_seed(0)
    model = kind.load(encoder, labels)
    learn_by_heart(kind, model, kind.encode(tokenizer, rows, labels, length).examples, steps=60)
    card = ModelCard(kind_name, "full", labels, "tiny", "", length, "", "", "run-1", "", "float32")
    return LoadedModel(model, tokenizer, card)


def counted(rows: list[Row], predict: Callable[..., Outputs], loaded: LoadedModel) -> Outputs:
    """The outputs, after a look at the steps told on the way."""
    steps: list[int] = []
    outputs = predict(loaded, rows, steps.append)
    assert sum(steps) == len(rows)
    return outputs


def as_reported(detail: dict[str, Any]) -> dict[str, Any]:
    """As a client gets it: numbers are floats, keys are in any order."""
    carried = Struct()
    carried.update(json.loads(json.dumps(detail)))
    return MessageToDict(carried)


# Entities


def tagged(words: str, tags: str, row_id: str = "1") -> Row:
    return {"row_id": row_id, "tokens": words.split(), "tags": tags.split()}


@settings(max_examples=40)
@given(st.lists(PAIR, min_size=1, max_size=6))
def test_entity_scores_are_seqevals_lenient_and_strict(pairs: list[list[tuple[str, str]]]) -> None:
    truth = [to_iob2([one for one, _ in row]) for row in pairs]
    guess = [to_iob2([other for _, other in row]) for row in pairs]
    rows = [{"row_id": str(place), "tokens": ["w"] * len(tags), "tags": tags} for place, tags in enumerate(truth)]
    outputs: Outputs = {"tags": guess, "loss": [1.0] * len(rows), "tokens": [2] * len(rows), "labels": []}
    found = {name: one.value for name, one in find_kind("token_classification").measures(rows, outputs).items()}
    for strictly in ({}, {"mode": "strict", "scheme": IOB2}):
        options: dict[str, Any] = {"zero_division": 0, **strictly}
        assert found["f1"] == pytest.approx(f1_score(truth, guess, **options))
        assert found["precision"] == pytest.approx(precision_score(truth, guess, **options))
        assert found["recall"] == pytest.approx(recall_score(truth, guess, **options))
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert found["loss"] == 0.5


def test_a_tagger_is_judged_on_every_word_of_every_row(encoder: Path) -> None:
    labels = ("O", "B-FOX", "I-FOX")
    rows = [
        tagged("the quick fox jumps", "O B-FOX I-FOX O", "1"),
        tagged(" ".join(["door"] * 60 + ["fox"]), " ".join(["O"] * 60 + ["B-FOX"]), "2"),
        tagged("fox-hunter jumps", "B-FOX O", "3"),
    ]
    kind = find_kind("token_classification")
    loaded = taught(encoder, "token_classification", rows, labels, 20)
    unread: Row = {"row_id": "4", "tokens": ["\u00a0", "fox", "fox"], "tags": ["B-FOX", "O", "B-DOG"]}
    outputs = counted([*rows, unread], kind.predict, loaded)
    assert outputs["tags"][:3] == [row["tags"] for row in rows]
    assert outputs["tags"][3][0] == "O", "what is not read is no entity: the true one counts as missed"
    assert outputs["tokens"] == [4, 61, 2, 2]
    assert outputs["loss"][3] > -math.log(1e-9), "the model gives a tag that it does not know no probability"
    measures = kind.measures(rows, {name: values[:3] for name, values in outputs.items()})
    assert measures.keys() == METRICS["token_classification"].keys()
    assert measures["f1"].value == measures["accuracy"].value == 1.0
    assert kind.unknown_classes([*rows, unread], outputs) == {"DOG": 1}
    detail = kind.detail(
        [*rows, unread],
        {"candidate": outputs, "champion": {**outputs, "tags": [row["tags"] for row in [*rows, unread]]}},
    )
    (table,) = detail["tables"]
    assert table["columns"][-1] == "f1 of the champion"
    lines = {line[0]: line for line in table["rows"]}
    assert lines["DOG"][1:] == [0.0, 0.0, 0.0, 1, 1.0]
    assert lines["FOX"][4] == 4
    assert detail["samples"][0]["row_id"] == "4", "where the two differ comes first"
    assert detail["samples"][0]["champion"] == "\u00a0 [FOX], fox [DOG]"
    (shown,) = report.tables(as_reported(detail))
    assert [name for name, numeric in shown.columns if numeric] == [name for name, _ in shown.columns[1:]]
    assert list(shown.rows[0]) == ["DOG", "0.0000", "0.0000", "0.0000", "1", "1"]
    titles = [name for name, _ in report.samples(as_reported(detail))[0].texts]
    assert titles == ["text", "reference", "before: champion", "this version"]


# Relations


@settings(max_examples=40)
@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=30))
def test_relations_are_scored_as_in_training_and_when_resampled(pairs: list[tuple[str, str]]) -> None:
    truth, guess = [one for one, _ in pairs], [other for _, other in pairs]
    measure = directed_f1(truth, guess)
    assert measure.value == pytest.approx(directed_macro_f1(truth, guess))
    counts = np.arange(len(pairs))[None, :].astype(float)
    again = [pair for count, pair in enumerate(pairs) for _ in range(count)]
    expected = directed_macro_f1([one for one, _ in again], [other for _, other in again])
    assert measure.score(counts @ measure.statistics)[0] == pytest.approx(expected)


def related(text: str, head: str, tail: str, label: str, row_id: str) -> Row:
    start, other = text.index(head), text.index(tail)
    places = {"head_start": start, "head_end": start + len(head), "tail_start": other, "tail_end": other + len(tail)}
    return {"row_id": row_id, "text": text, **places, "label": label}


def test_relations_are_judged_with_direction(encoder: Path) -> None:
    labels = ("Cause(e1,e2)", "Cause(e2,e1)", "Other")
    text = "the fox and the dog open a door"
    rows = [
        related(text, "fox", "dog", "Cause(e1,e2)", "1"),
        related(text, "dog", "fox", "Cause(e2,e1)", "2"),
        related(text, "fox", "door", "Other", "3"),
    ]
    kind = find_kind("relation_extraction")
    strange = related(text, "dog", "door", "Odd(e1,e2)", "4")
    outputs = counted([*rows, strange], kind.predict, taught(encoder, "relation_extraction", rows, labels))
    assert outputs["guess"][:3] == [row["label"] for row in rows]
    assert outputs["loss"][3] == pytest.approx(-math.log(1e-9))
    assert kind.unknown_classes([*rows, strange], outputs) == {"Odd(e1,e2)": 1}
    assert kind.measures(rows, {**outputs, "guess": outputs["guess"][:3], "loss": outputs["loss"][:3]}).keys() == (
        METRICS["relation_extraction"].keys()
    )
    known = {**outputs, "guess": outputs["guess"][:3]}
    turned = {**outputs, "guess": ["Cause(e2,e1)", *outputs["guess"][1:3]]}
    detail = kind.detail(rows, {"candidate": turned, "champion": known})
    lines = {line[0]: line for line in detail["tables"][0]["rows"]}
    assert lines["Cause"][3:] == [0.5, 1, 2, 1.0], "f1, wrong direction, in the rows, the champion's f1"
    assert detail["confusion"] == {"labels": sorted(labels), "matrix": [[0, 1, 0], [0, 1, 0], [0, 0, 1]]}
    assert detail["samples"][0]["text"] == "the [E1] fox [/E1] and the [E2] dog [/E2] open a door"
    assert detail["mcnemar"]["only_reference_right"] == 1


# Answers


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1"),
    [
        ("The Denver Broncos!", ["denver broncos"], 1.0, 1.0),
        ("Broncos of Denver", ["Denver Broncos"], 0.0, 0.8),
        ("in 1066", ["1066", "the year 1066"], 0.0, 2 / 3),
        ("", [], 1.0, 1.0),
        ("Denver", [], 0.0, 0.0),
        ("", ["Denver"], 0.0, 0.0),
        ("a b b", ["b c b"], 0.0, 2 * 2 / (2 + 3)),
    ],
)
def test_english_answers_are_compared_as_squad_does(answer: str, right: list[str], exact: float, f1: float) -> None:
    assert exact_match(answer, right, characters=False) == exact
    assert span_f1(answer, right, characters=False) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1"),
    [
        ("《北京》。", ["北京"], 1.0, 1.0),
        ("北京市", ["北京"], 0.0, 2 * 2 / (3 + 2)),
        ("京北", ["北京"], 0.0, 2 * 1 / (2 + 2)),
        ("Windows系统", ["windows 系统"], 1.0, 1.0),
        ("1998年5月", ["1998年", "5月"], 0.0, 2 * 2 / (4 + 2)),
        ("上海", ["北京"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("。", ["北京"], 0.0, 0.0),
    ],
)
def test_chinese_answers_are_compared_as_cmrc_does(answer: str, right: list[str], exact: float, f1: float) -> None:
    assert exact_match(answer, right, characters=True) == exact
    assert span_f1(answer, right, characters=True) == pytest.approx(f1)


def test_the_context_decides_how_answers_are_compared() -> None:
    assert by_characters("北京是中国的首都 (Beijing is the capital).")
    assert not by_characters("Beijing (北京) is the capital of the People's Republic of China.")


@given(st.lists(st.sampled_from("ab"), max_size=8), st.lists(st.sampled_from("ab"), max_size=8))
def test_the_longest_common_part_is_the_longest_run_of_both(first: list[str], second: list[str]) -> None:
    runs = {tuple(first[start:end]) for start in range(len(first)) for end in range(start + 1, len(first) + 1)}
    both = [run for run in runs if any(tuple(second[at : at + len(run)]) == run for at in range(len(second)))]
    assert longest_common_part(first, second) == max(map(len, both), default=0)


def asked(question: str, context: str, answer: str, row_id: str) -> Row:
    found = [{"text": answer, "start": context.index(answer)}] if answer else []
    return {"row_id": row_id, "question": question, "context": context, "answers": found}


def test_answers_are_judged_over_all_windows(encoder: Path) -> None:
    long = "the lazy dog " * 6 + "a red fox " + "and the key " * 3
    rows = [
        asked("what is the price?", "it is ten coins for one", "ten coins", "1"),
        asked("who?", long, "a red fox", "2"),
        asked("who jumps?", "open the door", "", "3"),
    ]
    kind = find_kind("question_answering")
    outputs = counted(rows, kind.predict, taught(encoder, "question_answering", rows, (), 24))
    assert outputs["answer"] == ["ten coins", "a red fox", ""]
    assert outputs["windows"][1] > 2
    assert outputs["learnt"][0] == 1
    measures = kind.measures(rows, outputs)
    assert measures.keys() == METRICS["question_answering"].keys()
    assert (measures["exact_match"].value, measures["f1"].value) == (1.0, 1.0)
    assert measures["loss"].value < 0.5
    worse = {**outputs, "answer": ["ten", "a red fox", "door"]}
    detail = kind.detail(rows, {"candidate": worse, "champion": outputs})
    lines = {line[0]: line[1:] for line in detail["tables"][0]["rows"]}
    assert lines["with an answer"] == [0.5, pytest.approx((2 / 3 + 1) / 2), 2]
    assert lines["without an answer"] == [0.0, 0.0, 1]
    assert lines["read in several windows"][:2] == [1.0, 1.0]
    assert [sample["row_id"] for sample in detail["samples"]] == ["1", "3", "2"]
    assert detail["samples"][1]["reference"] == "(no answer)"
