"""A run of two processes on the platform: paused while it trains, resumed, and the same bytes as with one process."""

from pathlib import Path

import pytest

from tests.support.platform import Platform, wait_for_champion, wait_for_job
from tests.support.rows import learnable_rows
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(600)

PIPELINE = """\
name: shared
kind: classification
base: {base}
method: {{name: full, learning_rate: 4e-3, epochs: 12, batch_size: 8, gradient_accumulation: 2, precision: float32}}
resources: {{processes: 2}}
trigger: {{new_rows: 100}}
gate: {{floors: {{accuracy: 0.5}}}}
"""


def test_two_processes_pause_and_go_on_and_end_with_the_bytes_of_one(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "home").start()
    try:
        with platform.client() as client:
            client.apply_pipeline(PIPELINE.format(base=tiny_encoder(tmp_path / "encoder")))
            client.append_rows("shared", learnable_rows(300))
            job = wait_for_job(client, "shared", "running", timeout=180)
            for event in client.watch(job.id):
                if event.kind == "progress":
                    client.pause(job.id)
                    break
            paused = eventually(lambda: one if (one := client.job(job.id)).state == "paused" else None, timeout=180)
            assert paused is not None
            assert 0 < paused.step < paused.total_steps
            client.resume(job.id)
            together = wait_for_champion(client, "shared", 1)
            started = [event for event in client.watch(job.id) if event.detail.get("processes") == 2]
            assert len(started) == 2, "both runs had two processes"

            done = platform.cli("train", "shared", "--set", "resources.processes=1")
            assert done.returncode == 0, done.stderr
            alone = eventually(
                lambda: next((one for one in client.model_versions("shared") if one.version == 2), None), timeout=180
            )
            assert alone is not None
            assert alone.weights_digest == together.weights_digest
    finally:
        platform.stop()
