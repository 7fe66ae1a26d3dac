"""Entities, relations and answers in a context."""

import json
import random
from typing import Any

from shared.client.answers import Lineage
from shared.client.client import FlywheelClient
from tests.e2e.kinds.case import KindCase
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

COMMON = """\
trigger: {new_rows: 100}
data: {splits: {validation: 0.05, test: 0.2}}
"""
METHOD = "method: {name: full, learning_rate: 4e-3, epochs: 4, batch_size: 8, max_length: 32}\n"
FILLER = ("the", "film", "over", "door", "key", "price", "coins")
ANIMALS = ("fox", "dog")
BETWEEN = (
    (("key", "door"), "push turn open push", "Opens(e1,e2)"),
    (("film", "service"), "ten coins ten coins", "Opens(e2,e1)"),
    (("fox", "dog"), "and over and over", "Other"),
)
SIZES = ("quick", "lazy", "brown")


def animals(count: int) -> list[dict[str, Any]]:
    """Sentences with an animal, or two, or none, and a word for its looks after it; half of them cut into words."""
    chance = random.Random(0)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        parts: list[tuple[str, str]] = [(word, "") for word in chance.choices(FILLER, k=chance.randint(3, 6))]
        for _ in range(number % 3):
            words = [chance.choice(ANIMALS)]
            if chance.random() < 0.5:
                words.append(chance.choice(SIZES))
            parts.insert(chance.randrange(len(parts) + 1), (" ".join(words), "ANIMAL"))
        parts.append((str(number), ""))
        rows.append(_cut(parts) if number % 2 else _annotated(parts))
    return rows


def openings(count: int) -> list[dict[str, Any]]:
    """What opens what: the two and the words between say it."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        before, after = (("e1", "e2"), ("e2", "e1"))[number % 2]
        things, between, label = BETWEEN[number % 3]
        first, second = chance.sample(things, 2)
        text = f"<{before}>{first}</{before}> {between} <{after}>{second}</{after}> {number}"
        rows.append({"text": text, "label": label})
    return rows


def prices(count: int) -> list[dict[str, Any]]:
    """Prices somewhere in a text that names them, and texts that name none."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        words = chance.choices(("the", "film", "over", "door", "key"), k=chance.randint(4, 9))
        answer = f"{chance.choice(('ten', 'fifteen'))} coins"
        if number % 4:
            place = chance.randrange(len(words) + 1)
            words.insert(place, f"price {answer}")
        context = f"{' '.join(words)} {number}"
        answers = [{"text": answer, "start": context.index(answer)}] if number % 4 else []
        rows.append({"question": "what is the price?", "context": context, "answers": answers})
    return rows


def ask_for_entities(client: FlywheelClient, model: str) -> Lineage:
    text = "the door fox lazy over the film 7"
    answer = client.tag(model, [text, "the film over the door"])
    assert [(one.label, one.text) for one in answer.results[0].entities] == [("ANIMAL", "fox lazy")]
    assert answer.results[1].entities == ()
    words = client.tag(model, words=[["over", "the", "dog", "quick"]])
    assert [one.text for one in words.results[0].entities] == ["dog quick"]
    right = [{"start": 0, "end": 8, "label": "ANIMAL"}]
    receipt = client.feedback(answer.request_id, index=0, correction=json.dumps(right), consent=True)
    assert receipt.batch is not None
    batch = receipt.batch.id
    eventually(lambda: batch in client.dataset_version(model).batches)
    (row,) = client.rows(model, batches=[batch])
    assert row.fields["tags"][:3] == ["B-ANIMAL", "I-ANIMAL", "O"]
    return answer.lineage


def ask_for_relations(client: FlywheelClient, model: str) -> Lineage:
    asked = []
    for (head, tail), words, _ in BETWEEN:
        start = len(head) + len(words) + 2
        asked.append((f"{head} {words} {tail} 3", (0, len(head)), (start, start + len(tail))))
    answer = client.relations(model, asked)
    found = [(one.label, one.direction) for one in answer.results]
    assert found == [("Opens", "head_to_tail"), ("Opens", "tail_to_head"), ("Other", "")]
    return answer.lineage


def ask_for_answers(client: FlywheelClient, model: str) -> Lineage:
    context = "the door over the film " * 6 + "price fifteen coins the key"
    answer = client.answer(model, "what is the price?", context=context)
    (found,) = answer.answers
    assert (found.text, found.span and context[found.span.start : found.span.end]) == ("fifteen coins",) * 2
    assert client.answer(model, "what is the price?", context="the door over the film").answers[0].text == ""
    return answer.lineage


def _annotated(parts: list[tuple[str, str]]) -> dict[str, Any]:
    text, entities = "", []
    for words, label in parts:
        start = len(text) + bool(text)
        text = f"{text} {words}".strip()
        if label:
            entities.append({"start": start, "end": len(text), "label": label})
    return {"text": text, "entities": entities}


def _cut(parts: list[tuple[str, str]]) -> dict[str, Any]:
    tokens, tags = [], []
    for words, label in parts:
        for place, word in enumerate(words.split()):
            tokens.append(word)
            tags.append(f"{'I' if place else 'B'}-{label}" if label else "O")
    return {"tokens": tokens, "tags": tags}


CASES = {
    "entities": KindCase(
        pipeline=f"kind: token_classification\n{METHOD}{COMMON}gate: {{floors: {{f1: 0.7}}}}\n",
        base=tiny_encoder,
        rows=animals(240),
        ask=ask_for_entities,
    ),
    "relations": KindCase(
        pipeline=f"kind: relation_extraction\n{METHOD.replace('epochs: 4', 'epochs: 8')}{COMMON}gate: {{floors: {{macro_f1: 0.7}}}}\n",
        base=tiny_encoder,
        rows=openings(240),
        ask=ask_for_relations,
    ),
    "answers": KindCase(
        pipeline=f"kind: question_answering\n{METHOD}{COMMON}gate: {{floors: {{f1: 0.7}}}}\n",
        base=tiny_encoder,
        rows=prices(240),
        ask=ask_for_answers,
    ),
}
