from shared.client.answers import Lineage
from shared.client.client import FlywheelClient
from tests.e2e.kinds.case import KindCase
from tests.support.rows import learnable_rows
from tests.support.tiny_models import tiny_encoder


def ask_for_a_label(client: FlywheelClient, model: str) -> Lineage:
    answer = client.classify(model, ["a great film", "an awful film"])
    assert [result.best.label for result in answer.results] == ["good", "bad"]
    return answer.lineage


CASES = {
    "labels": KindCase(
        pipeline="""\
kind: classification
method: {name: full, learning_rate: 4e-3, epochs: 6, batch_size: 8, max_length: 32}
trigger: {new_rows: 100}
data: {splits: {validation: 0.05, test: 0.2}}
gate: {floors: {accuracy: 0.7}}
""",
        base=tiny_encoder,
        rows=learnable_rows(200),
        ask=ask_for_a_label,
    ),
}
