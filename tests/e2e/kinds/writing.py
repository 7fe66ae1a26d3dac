"""Translation, summarisation, instructions and generation: all learn what is said about a thing."""

import random

from shared.client.answers import Lineage
from shared.client.client import FlywheelClient
from tests.e2e.kinds.case import KindCase
from tests.support.tiny_encoders import tiny_writer
from tests.support.tiny_models import tiny_decoder

SAID = {"door": "turn the key", "price": "ten coins", "film": "good and bad", "dog": "quick brown fox"}
FILLERS = ("the", "over", "again", "jumps")


def asked(count: int) -> list[tuple[str, str]]:
    """Texts about a thing, and what is said about it."""
    chance = random.Random(0)
    found = []
    for number in range(count):
        thing = chance.choice(sorted(SAID))
        found.append((f"{number} {chance.choice(FILLERS)} {thing}", SAID[thing]))
    return found


def rows(count: int, source: str, target: str, **constant: str) -> list[dict[str, str]]:
    return [{source: text, target: said, **constant} for text, said in asked(count)]


def ask_for_a_translation(client: FlywheelClient, model: str) -> Lineage:
    answer = client.translate(model, ["7 over door", "8 the dog"])
    assert [found.text for found in answer.results] == [SAID["door"], SAID["dog"]]
    return answer.lineage


def ask_for_a_summary(client: FlywheelClient, model: str) -> Lineage:
    answer = client.summarize(model, ["7 the price", "8 again film"])
    assert [found.text for found in answer.results] == [SAID["price"], SAID["film"]]
    return answer.lineage


def ask_to_follow(client: FlywheelClient, model: str) -> Lineage:
    generation = client.generate(model, "7 again film", max_tokens=12)
    assert generation.read_all().strip() == SAID["film"]
    assert generation.accepted is not None
    receipt = client.feedback(generation.accepted.request_id, correction="good", consent=True)
    assert receipt.batch is not None
    return generation.accepted.lineage


def ask_to_go_on(client: FlywheelClient, model: str) -> Lineage:
    generation = client.generate(model, "7 the price", max_tokens=12)
    assert generation.read_all() == f" {SAID['price']}"
    assert generation.accepted is not None
    return generation.accepted.lineage


OPTIONS = "answer_tokens: 12, answered_rows: 20"
METHOD = """\
method: {name: full, learning_rate: 1e-2, epochs: 5, batch_size: 16, max_length: 64}
trigger: {new_rows: 100}
data: {splits: {validation: 0.05, test: 0.2}}
"""
CASES = {
    "translations": KindCase(
        pipeline=f"kind: translation\noptions: {{{OPTIONS}}}\n{METHOD}gate: {{floors: {{chrf: 50}}, base: {{metric: chrf}}}}\n",
        base=tiny_writer,
        rows=rows(160, "source", "target", source_lang="en", target_lang="de"),
        ask=ask_for_a_translation,
    ),
    "summaries": KindCase(
        pipeline=f"kind: summarisation\noptions: {{{OPTIONS}}}\n{METHOD}gate: {{floors: {{rouge_l: 0.5}}, base: {{metric: loss}}}}\n",
        base=tiny_decoder,
        rows=rows(160, "document", "summary"),
        ask=ask_for_a_summary,
    ),
    "instructions": KindCase(
        pipeline=f"kind: instruction\noptions: {{prompt: 'Q: {{text}} A:', {OPTIONS}}}\n{METHOD}gate: {{floors: {{chrf: 50}}}}\n",
        base=tiny_decoder,
        rows=rows(160, "instruction", "output"),
        ask=ask_to_follow,
    ),
    "stories": KindCase(
        pipeline=f"kind: generation\n{METHOD}gate: {{ceilings: {{loss: 1.5}}}}\n",
        base=tiny_decoder,
        rows=[{"prompt": text, "completion": f" {said}"} for text, said in asked(160)],
        ask=ask_to_go_on,
    ),
}
