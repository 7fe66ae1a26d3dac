"""The same processes on PostgreSQL, a password-protected Valkey and an S3-protocol store: the whole loop."""

from pathlib import Path

import pytest

from tests.support.platform import Platform, wait_for_champion, wait_until_served
from tests.support.rows import learnable_rows
from tests.support.s3 import S3
from tests.support.tiny_models import tiny_decoder, tiny_encoder
from tests.support.valkey import Valkey

pytestmark = pytest.mark.timeout(600)

LABELS = """\
name: labels
kind: classification
base: {base}
method: {{name: full, learning_rate: 4e-3, epochs: 8, batch_size: 8, precision: float32}}
data: {{splits: {{validation: 0.05, test: 0.25}}}}
trigger: {{new_rows: 200, cooldown: 0s}}
gate: {{floors: {{accuracy: 0.7}}, champion: {{metric: accuracy, margin: 0.1}}}}
"""
SUPPORT = """\
name: support
kind: chat
base: {base}
method: {{name: lora, epochs: 2, precision: float32, max_length: 128}}
data: {{fields: {{prompt: question, response: answer}}, splits: {{validation: 0.05, test: 0.3}}}}
trigger: {{new_rows: 100, cooldown: 0s}}
gate: {{base: {{metric: loss}}}}
"""


def test_the_loop_turns_on_postgresql_valkey_and_s3(
    tmp_path: Path, own_valkey: Valkey, postgres_url: str, s3: S3
) -> None:
    platform = Platform(
        tmp_path / "home",
        FLYWHEEL_BROKER_URL=own_valkey.url,
        FLYWHEEL_DATABASE_URL=postgres_url,
        FLYWHEEL_ARTIFACTS_URL=s3.url,
        FLYWHEEL_ARTIFACTS_ENDPOINT=s3.endpoint,
        **s3.env,
    ).start()
    try:
        with platform.client() as client:
            client.apply_pipeline(LABELS.format(base=tiny_encoder(tmp_path / "encoder")))
            client.append_rows("labels", learnable_rows(400), batch_key="first")
            client.apply_pipeline(SUPPORT.format(base=tiny_decoder(tmp_path / "decoder")))
            questions = [
                {"question": f"what is the price of {number} doors?", "answer": f"it is ten coins for {number}"}
                for number in range(160)
            ]
            client.append_rows("support", questions, batch_key="faq")

            version = wait_for_champion(client, "labels", 1)
            assert version.weights_digest
            wait_until_served(client, "labels", 1)
            adapter = wait_for_champion(client, "support", 1)
            assert adapter.adapter_digest
            wait_until_served(client, "support", 1)
            answer = client.chat("support", "what is the price of 7 doors?", max_tokens=8)
            answer.read_all()
            assert answer.accepted is not None
            assert answer.accepted.lineage.adapter_digest == adapter.adapter_digest

            client.append_rows("labels", learnable_rows(400, seed=1), batch_key="second")
            wait_for_champion(client, "labels", 2)
            wait_until_served(client, "labels", 2)
            assert client.status().dead_letters == 0
        assert not list((platform.home).glob("artifacts/*")), "nothing but caches may lie on the machine itself"
    finally:
        platform.stop()
