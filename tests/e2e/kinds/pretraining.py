"""Models from nothing but text: one that writes, one that gives vectors."""

import random
from pathlib import Path

from shared.client.answers import Lineage
from shared.client.client import FlywheelClient
from shared.pipelines.kinds import NEW_BASE
from tests.e2e.kinds.case import KindCase
from tests.e2e.kinds.writing import FILLERS, SAID


def documents(count: int) -> list[dict[str, str]]:
    chance = random.Random(1)
    found = []
    for number in range(count):
        things = chance.choices(sorted(SAID), k=3)
        lines = [f"{chance.choice(FILLERS)} {thing} {SAID[thing]}." for thing in things]
        found.append({"text": f"{number} {' '.join(lines)} 今天天气很好。"})
    return found


def nothing(_: Path) -> str:
    return NEW_BASE


def ask_to_write(client: FlywheelClient, model: str) -> Lineage:
    generation = client.generate(model, "the price ten", max_tokens=4)
    assert generation.read_all()
    assert generation.accepted is not None
    return generation.accepted.lineage


def ask_for_vectors(client: FlywheelClient, model: str) -> Lineage:
    answer = client.embed(model, ["the price ten coins", "今天天气很好"])
    assert [len(vector.values) for vector in answer.vectors] == [32, 32]
    return answer.lineage


METHOD = """\
method: {name: full, learning_rate: 4e-3, epochs: 6, batch_size: 8, max_length: 48}
trigger: {new_rows: 100}
data: {splits: {validation: 0.05, test: 0.2}}
gate: {ceilings: {bits_per_byte: 6}}
"""
SIZES = "vocabulary: 400, hidden_size: 32, layers: 2, heads: 2, positions: 64"
CASES = {
    "writer": KindCase(
        pipeline=f"kind: pretraining\noptions: {{objective: causal, {SIZES}}}\n{METHOD}",
        base=nothing,
        rows=documents(160),
        ask=ask_to_write,
    ),
    "reader": KindCase(
        pipeline=f"kind: pretraining\noptions: {{objective: masked, {SIZES}}}\n{METHOD}",
        base=nothing,
        rows=documents(160),
        ask=ask_for_vectors,
    ),
}
