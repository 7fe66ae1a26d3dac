"""Integrated gradients sum to what they explain, and words to what their pieces say."""

import time

import pytest

from services.inference.engine.attribution import Explainer
from services.inference.engine.batcher import OwnThread
from services.inference.engine.tokenising import TextEncoder
from shared.errors import DeadlineExceeded
from tests.support.tiny_encoders import LENGTH, tiny_bert, word_tokenizer


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    model, _ = tiny_bert("classification")
    for parameter in model.parameters():
        parameter.requires_grad_(False).mul_(0.5)  # gentler, so that 32 steps integrate it well
    return Explainer(model, TextEncoder(word_tokenizer(), LENGTH), OwnThread())


@pytest.mark.parametrize(
    "text", ["a good film", "what is the price? it is ten coins", ("open the door", "turn the key")]
)
def test_attributions_are_complete(explainer: Explainer, text: str | tuple[str, str]) -> None:
    for label in range(3):
        scores, wanted = explainer.attribute(text, label)
        assert sum(scores) == pytest.approx(wanted, abs=max(0.02, abs(wanted) * 0.05))


def test_pieces_of_a_word_are_one(explainer: Explainer) -> None:
    words = explainer.explain("xyz film", 0, time.monotonic() + 60)
    assert [(one.text, one.start, one.end) for one in words] == [("xyz", 0, 3), ("film", 4, 8)]
    assert sum(abs(one.score) for one in words) == pytest.approx(1)


def test_nothing_is_explained_past_the_deadline(explainer: Explainer) -> None:
    with pytest.raises(DeadlineExceeded):
        explainer.explain("a film", 0, time.monotonic() - 1)
