"""Answer selection, ranking and embedding. A tiny model that reads pairs learns a word of the right texts in seconds;
one that makes vectors learns that both are about the same thing."""

import random
from typing import Any

from shared.client.answers import Lineage
from shared.client.client import FlywheelClient
from tests.e2e.kinds.case import KindCase
from tests.support.rows import SIGNS, WORDS
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

THINGS = sorted(word for word in WORDS if len(word) > 3)


def opinions(count: int, wrong: int) -> list[tuple[str, str, list[str]]]:
    """A query, the text that fits it, which is friendly, and others, which are not."""
    chance = random.Random(0)
    return [
        (
            f"{chance.choice(THINGS)} {number}",
            f"{chance.choice(THINGS)} {chance.choice(SIGNS['good'])}",
            [f"{chance.choice(SIGNS['bad'])} {other}" for other in range(wrong)],
        )
        for number in range(count)
    ]


def questions(count: int) -> list[dict[str, Any]]:
    return [
        {"question": query, "candidates": [*wrong, right] if number % 2 else [right, *wrong], "answer": right}
        for number, (query, right, wrong) in enumerate(opinions(count, 2))
    ]


def rankings(count: int) -> list[dict[str, Any]]:
    return [{"query": query, "positive": right, "negatives": wrong} for query, right, wrong in opinions(count, 20)]


def searches(count: int) -> list[dict[str, Any]]:
    """Only half of them bring negatives."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        thing, other = chance.sample(THINGS, 2)
        row: dict[str, Any] = {"query": f"{thing} {number}", "positive": f"this {thing}"}
        rows.append({**row, "negatives": [f"this {other}"]} if number % 2 else row)
    return rows


def ask_for_the_answer(client: FlywheelClient, model: str) -> Lineage:
    answer = client.answer(model, "door 7", candidates=["awful 3", "film great", "never 2"])
    (found,) = answer.answers
    assert (found.text, found.candidate) == ("film great", 1)
    assert abs(sum(found.candidate_scores) - 1) < 1e-4
    return answer.lineage


def ask_for_scores(client: FlywheelClient, model: str) -> Lineage:
    answer = client.score(model, "coins 7", ["awful 3", "never 2", "door thank"])
    assert max(range(3), key=answer.scores.__getitem__) == 2
    receipt = client.feedback(answer.request_id, correction="never 2", consent=True)
    assert receipt.batch is not None
    batch = receipt.batch.id
    eventually(lambda: batch in client.dataset_version(model).batches)
    (row,) = client.rows(model, batches=[batch])
    assert row.fields == {"query": "coins 7", "positives": ["never 2"], "negatives": ["awful 3", "door thank"]}
    return answer.lineage


def ask_for_vectors(client: FlywheelClient, model: str) -> Lineage:
    answer = client.embed(model, ["quick 5", "this quick", "this lazy"])
    query, right, wrong = (vector.values for vector in answer.vectors)
    assert sum(a * b for a, b in zip(query, right, strict=True)) > sum(a * b for a, b in zip(query, wrong, strict=True))
    scores = client.score(model, "quick 5", ["this lazy", "this quick"]).scores
    assert scores[1] > scores[0]
    return answer.lineage


METHOD = """\
method: {name: full, learning_rate: 4e-3, epochs: 4, batch_size: 16, max_length: 32}
trigger: {new_rows: 100}
data: {splits: {validation: 0.05, test: 0.2}}
"""
CASES = {
    "answers": KindCase(
        pipeline=f"kind: answer_selection\n{METHOD}gate: {{floors: {{accuracy: 0.7}}}}\n",
        base=tiny_encoder,
        rows=questions(160),
        ask=ask_for_the_answer,
    ),
    "ranking": KindCase(
        pipeline=f"kind: ranking\n{METHOD}gate: {{floors: {{mrr: 0.7}}}}\n",
        base=tiny_encoder,
        rows=rankings(160),
        ask=ask_for_scores,
    ),
    "vectors": KindCase(
        pipeline=f"kind: embedding\n{METHOD}gate: {{floors: {{mrr: 0.3}}, base: {{metric: mrr}}}}\n",
        base=tiny_encoder,
        rows=searches(160),
        ask=ask_for_vectors,
    ),
}
