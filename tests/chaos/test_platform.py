"""Parts of a running platform die; nothing is lost, nothing is done twice, nobody has to help."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from shared.client.client import FlywheelClient
from shared.embedded.orphans import MARK
from shared.errors import FlywheelError, Unavailable
from tests.support.platform import COMMAND, Platform, wait_for_champion, wait_for_job, wait_until_served
from tests.support.rows import learnable_rows
from tests.support.tiny_models import tiny_decoder, tiny_encoder
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(400)

PIPELINE = """\
name: {name}
kind: classification
base: {base}
method: {{name: full, learning_rate: 4e-3, epochs: {epochs}, batch_size: 8, precision: float32}}
data: {{splits: {{validation: 0.05, test: 0.25}}}}
trigger: {{new_rows: 100, cooldown: 0s}}
gate: {{floors: {{accuracy: 0}}, champion: null}}
"""  # nothing here is about how well it learns: a floor of 0 lets every first version through
SLOW_EPOCHS, QUICK_EPOCHS = 60, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def base(folder: Path) -> Path:
    return tiny_encoder(folder / "encoder")


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    started = Platform(folder / "home").start()
    yield started
    started.stop()


@pytest.fixture
def client(platform: Platform) -> Iterator[FlywheelClient]:
    with platform.client() as opened:
        yield opened


def start_slow_job(client: FlywheelClient, name: str, base: Path) -> None:
    client.apply_pipeline(PIPELINE.format(name=name, base=base, epochs=SLOW_EPOCHS))
    client.append_rows(name, learnable_rows(300), batch_key="first")


def wait_for_a_checkpoint(client: FlywheelClient, name: str) -> None:
    job = wait_for_job(client, name, "running")
    eventually(lambda: client.checkpoints(job.id), timeout=60, interval=0.05)


def one_version_came_of_one_job(client: FlywheelClient, name: str) -> None:
    wait_for_champion(client, name, 1)
    assert [version.version for version in client.model_versions(name)] == [1]
    (job,) = client.jobs(name)
    assert job.state == "succeeded"
    assert sum(run.state == "succeeded" for run in client.runs(job.id)) == 1


def test_a_killed_training_process_resumes_from_its_checkpoint(
    platform: Platform, client: FlywheelClient, base: Path
) -> None:
    start_slow_job(client, "trainer-killed", base)
    wait_for_a_checkpoint(client, "trainer-killed")
    process = eventually(platform.training_process)
    assert process
    process.kill()
    one_version_came_of_one_job(client, "trainer-killed")
    lost, finished = client.runs(client.jobs("trainer-killed")[0].id)
    assert lost.state == "failed"
    assert finished.start_step > 0, "it did not start anew"


def test_a_killed_worker_loses_its_run_and_another_attempt_resumes(
    platform: Platform, client: FlywheelClient, base: Path
) -> None:
    start_slow_job(client, "worker-killed", base)
    wait_for_a_checkpoint(client, "worker-killed")
    orphan = eventually(platform.training_process)
    platform.kill("finetuning")
    assert orphan
    eventually(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)
    one_version_came_of_one_job(client, "worker-killed")
    lost, finished = client.runs(client.jobs("worker-killed")[0].id)
    assert lost.state == "lost"
    assert finished.start_step > 0


@pytest.mark.parametrize("service", ["control", "ingestion", "evaluation"])
def test_the_loop_turns_although_a_service_was_killed(
    platform: Platform, client: FlywheelClient, base: Path, service: str
) -> None:
    name = f"{service}-killed"
    client.apply_pipeline(PIPELINE.format(name=name, base=base, epochs=QUICK_EPOCHS))
    os.kill(platform.pid(service), signal.SIGKILL)
    client.append_rows(name, learnable_rows(300), batch_key="first")
    one_version_came_of_one_job(client, name)


def test_the_queue_may_be_killed_and_lose_everything(platform: Platform, client: FlywheelClient, base: Path) -> None:
    start_slow_job(client, "queue-killed", base)
    wait_for_job(client, "queue-killed", "running")
    (valkey,) = [
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get(MARK) == str(platform.home)
        and "valkey" in " ".join(process.info["cmdline"] or [])
    ]
    valkey.kill()
    client.append_rows("queue-killed", learnable_rows(50, seed=5), batch_key="while it was down")
    eventually(lambda: client.status().broker_ready)
    url = (platform.home / "run" / "broker.url").read_text().strip()
    with redis.Redis.from_url(url) as queue:
        queue.flushall()
    one_version_came_of_one_job(client, "queue-killed")
    eventually(lambda: client.dataset_version("queue-killed").new_rows == 50 or None, timeout=60)


def test_a_stream_that_inference_died_under_says_so_and_the_next_one_works(
    platform: Platform, client: FlywheelClient, folder: Path
) -> None:
    support = PIPELINE.format(name="stream", base=tiny_decoder(folder / "decoder"), epochs=1)
    support = support.replace("kind: classification", "kind: chat").replace("accuracy: 0}", "chrf: 0}")
    client.apply_pipeline(support)
    rows = [{"prompt": f"what is the price of {number}?", "response": "ten coins"} for number in range(150)]
    client.append_rows("stream", rows, batch_key="faq")
    wait_for_champion(client, "stream", 1)
    wait_until_served(client, "stream", 1)

    with FlywheelClient.from_environment(home=platform.home, patience=0) as impatient:
        inference = platform.pid("inference")
        stream = impatient.chat("stream", "the quick brown fox", max_tokens=400)
        next(iter(stream))
        os.kill(inference, signal.SIGKILL)
        with pytest.raises(Unavailable, match="inference"):
            stream.read_all()
    again = client.chat("stream", "the quick brown fox", max_tokens=4)
    again.read_all()
    assert again.finished is not None


def test_ctrl_c_while_it_starts_or_runs_leaves_no_process_behind(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "home")
    for moment in (0.5, 2.5):
        started = subprocess.Popen(
            [*COMMAND, "up"], env=platform.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Event().wait(moment)  # any moment will do: it is what the test is about
        started.send_signal(signal.SIGINT)
        output, _ = started.communicate(timeout=60)
        assert started.returncode == 130, output
        assert "Traceback" not in output
        left = [process for process in psutil.process_iter(["environ"]) if mentions(process, platform.home)]
        assert left == []


def mentions(process: psutil.Process, home: Path) -> bool:
    return (process.info["environ"] or {}).get(MARK) == str(home)


def test_a_second_platform_on_the_same_folder_is_refused(platform: Platform) -> None:
    second = platform.cli("up", "--detach")
    assert second.returncode == 1
    assert str(psutil.Process(platform.pid("control")).ppid()) in second.stderr + second.stdout
    assert eventually(lambda: platform.json("status")["ready"])


def test_a_port_in_use_is_named(platform: Platform, tmp_path: Path) -> None:
    taken = platform.json("status")["services"]["inference"]["address"]
    other = Platform(tmp_path / "home", FLYWHEEL_INFERENCE_ADDRESS=taken)
    refused = other.cli("up", "--detach")
    assert refused.returncode == 1
    assert taken.rpartition(":")[2] in refused.stderr + refused.stdout
    with pytest.raises(FlywheelError):
        FlywheelClient.from_environment(home=other.home, patience=0).status()
