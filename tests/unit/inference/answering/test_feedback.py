"""What is remembered of an answer becomes a row for feedback."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from services.inference.answering.answers import Answer, Times
from services.inference.answering.feedback import _one_input
from services.inference.models.lineage import Lineage
from shared.errors import FailedPrecondition, InvalidArgument


def answer(method: str, asked: Mapping[str, Any], answered: Mapping[str, Any]) -> Answer:
    return Answer("r", method, asked, answered, Lineage("m", 1), Times(0, 0, 0), datetime.now(UTC))


def test_each_input_of_an_answer_becomes_a_row() -> None:
    pairs = answer("Classify", {"pairs": [["a", "b"], ["c", "d"]]}, {"labels": ["yes", "no"]})
    assert _one_input(pairs, 1) == ({"text": "c", "text_pair": "d"}, "no")
    texts = answer("Translate", {"texts": ["a"], "source_language": "en"}, {"texts": ["b"]})
    assert _one_input(texts, 0) == ({"text": "a", "source_language": "en"}, "b")
    tags = answer("TagTokens", {"texts": ["a"]}, {"entities": [[{"label": "X"}]]})
    assert _one_input(tags, 0) == ({"text": "a"}, '[{"label": "X"}]')
    asked = answer("AnswerQuestion", {"questions": [{"question": "q", "context": "c"}]}, {"answers": [{"text": "t"}]})
    assert _one_input(asked, 0)[0] == {"question": "q", "context": "c"}


def test_the_best_scored_candidate_is_the_answer_to_its_query() -> None:
    asked = {"query": "q", "candidates": ["a", "b", "c"]}
    scored = answer("Score", asked, {"scores": [0.1, 0.7, -2.0]})
    assert _one_input(scored, 0) == (asked, "b")


def test_label_sets_become_json_lists() -> None:
    sets = answer("Classify", {"texts": ["a", "b", "c"]}, {"labels": [["x", "y"], [], "x"]})
    assert [_one_input(sets, index)[1] for index in range(3)] == ['["x", "y"]', "[]", "x"]


def test_vectors_take_no_feedback_and_an_index_must_exist() -> None:
    with pytest.raises(FailedPrecondition, match="Embed take no feedback"):
        _one_input(answer("Embed", {"texts": ["a"]}, {"width": 3}), 0)
    with pytest.raises(InvalidArgument, match="index is 1"):
        _one_input(answer("Classify", {"texts": ["a"]}, {"labels": ["x"]}), 1)
