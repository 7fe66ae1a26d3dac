import random
from typing import Any

from shared.client.answers import Lineage
from shared.client.client import FlywheelClient
from tests.e2e.kinds.case import KindCase
from tests.support.rows import SIGNS, WORDS, learnable_rows
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

METHOD = """\
method: {name: full, learning_rate: 4e-3, epochs: 6, batch_size: 8, max_length: 32}
trigger: {new_rows: 100}
data: {splits: {validation: 0.05, test: 0.2}}
"""


def sets_of_labels(count: int) -> list[dict[str, Any]]:
    """Opinions have two labels; a third of the texts are none, and have none."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        sign = ("good", "bad", "")[number % 3]
        word = chance.choice(SIGNS[sign]) if sign else "the"
        rows.append({"text": f"{word} {chance.choice(WORDS)} {number}", "labels": [sign, "opinion"] if sign else []})
    return rows


def pairs(count: int) -> list[dict[str, Any]]:
    """Two opinions; whether the second is a good one."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        first, second = chance.choice(sorted(SIGNS)), chance.choice(sorted(SIGNS))
        texts = (f"{chance.choice(WORDS)} {chance.choice(SIGNS[sign])} {number}" for sign in (first, second))
        rows.append({"text": next(texts), "text_pair": next(texts), "label": second})
    return rows


def ask_for_a_label(client: FlywheelClient, model: str) -> Lineage:
    answer = client.classify(model, ["a great film", "an awful film"])
    assert [result.given for result in answer.results] == [("good",), ("bad",)]
    return answer.lineage


def ask_for_labels_of_pairs(client: FlywheelClient, model: str) -> Lineage:
    answer = client.classify(model, pairs=[("door awful 1", "key great 2"), ("door great 1", "key awful 2")])
    assert [result.best.label for result in answer.results] == ["good", "bad"]
    return answer.lineage


def ask_for_label_sets(client: FlywheelClient, model: str) -> Lineage:
    answer = client.classify(model, ["great film 7", "the door 8"])
    first, second = answer.results
    assert (set(first.given), second.given) == ({"good", "opinion"}, ())
    assert sum(label.score for label in first.labels) > 1
    receipt = client.feedback(answer.request_id, index=1, correction='["opinion", "bad"]', consent=True)
    assert receipt.batch is not None
    batch = receipt.batch.id
    eventually(lambda: batch in client.dataset_version(model).batches)
    assert [row.fields["labels"] for row in client.rows(model, batches=[batch])] == [["bad", "opinion"]]
    return answer.lineage


CASES = {
    "labels": KindCase(
        pipeline=f"kind: classification\n{METHOD}gate: {{floors: {{accuracy: 0.7}}}}\n",
        base=tiny_encoder,
        rows=learnable_rows(200),
        ask=ask_for_a_label,
    ),
    "label-sets": KindCase(
        pipeline=f"""\
kind: classification
options: {{multi_label: true}}
{METHOD.replace("epochs: 6", "epochs: 10")}
gate: {{floors: {{micro_f1: 0.7}}}}
""",
        base=tiny_encoder,
        rows=sets_of_labels(200),
        ask=ask_for_label_sets,
    ),
    "pairs": KindCase(
        pipeline=f"kind: classification\n{METHOD}gate: {{floors: {{accuracy: 0.7}}}}\n",
        base=tiny_encoder,
        rows=pairs(200),
        ask=ask_for_labels_of_pairs,
    ),
}
