"""Batched predictions equal those made one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from shared.modeling.loading import LoadedModel, load_model
from shared.modeling.predict import classify, generate, score_chat
from tests.support.tiny_models import CORPUS, tiny_model

TEXTS = ["good", *CORPUS, "a", "bad film"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(tiny_model(tmp_path_factory.mktemp("m") / "classifier", "classification", ("a", "b", "c")))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(tiny_model(tmp_path_factory.mktemp("m") / "chat", "chat", seed=4))


def test_classes_come_in_the_order_of_the_texts(classifier: LoadedModel) -> None:
    together = torch.tensor(classify(classifier, TEXTS, batch_size=3))
    alone = torch.tensor([classify(classifier, [text])[0] for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together.sum(1), torch.ones(len(TEXTS)))


def test_no_texts_give_no_answers(classifier: LoadedModel) -> None:
    assert classify(classifier, []) == []


def test_batched_greedy_answers_are_those_of_single_prompts(chat: LoadedModel) -> None:
    together = generate(chat, TEXTS, max_new_tokens=12, batch_size=4)
    assert together == [generate(chat, [text], max_new_tokens=12)[0] for text in TEXTS]


def test_prompt_may_be_a_conversation(chat: LoadedModel) -> None:
    (plain,) = generate(chat, ["hello"], max_new_tokens=5)
    (conversation,) = generate(chat, [[{"role": "user", "content": "hello"}]], max_new_tokens=5)
    assert plain == conversation


def test_chat_score_is_weighted_by_tokens(chat: LoadedModel) -> None:
    rows: list[dict[str, Any]] = [
        {"row_id": str(i), "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": text}]}
        for i, text in enumerate(TEXTS)
    ]
    together = score_chat(chat, rows, batch_size=3)
    alone = [score_chat(chat, [row]) for row in rows]
    assert together.tokens == sum(score.tokens for score in alone)
    mean = sum(score.loss * score.tokens for score in alone) / together.tokens
    assert together.loss == pytest.approx(mean, rel=1e-4)


def test_generation_stops_at_the_end_of_the_turn(tmp_path: Path, chat: LoadedModel) -> None:
    model: Any = load_model(tiny_model(tmp_path / "model", "chat")).model
    with torch.no_grad():
        model.model.norm.weight.zero_()  # all logits equal: greedy takes token 0 for ever
    loaded = LoadedModel(model, chat.tokenizer, chat.card)
    model.generation_config.eos_token_id = [0]
    assert generate(loaded, ["hello"], max_new_tokens=500) == [""]
