"""The worker as a process of its own, with a real queue."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from shared.config import child_environment
from shared.messaging.publisher import Publisher
from shared.storage.database import Database
from shared.storage.migrate import migrate
from tests.integration.evaluation.world import World, sentiment_rows
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def test_a_message_is_judged_by_the_worker_which_ends_cleanly(valkey: Valkey, tmp_path: Path, good: Path) -> None:
    migrate(f"sqlite:///{tmp_path / 'flywheel.db'}")
    database = Database(f"sqlite:///{tmp_path / 'flywheel.db'}")
    world = World(database, tmp_path, "classification", {"floors": {"accuracy": 0.8}}, broker_url=valkey.url)
    world.batch("first", sentiment_rows(40))
    world.dataset(1, ["first"])
    publisher = Publisher(world.settings, database)
    environment = child_environment(
        home=world.settings.home,
        database_url=database.engine.url,
        broker_url=valkey.url,
        device="cpu",
        threads=1,
    )
    command = [sys.executable, "-m", "services.evaluation"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            ready = json.loads(worker.stdout.readline())
            assert (ready["service"], ready["pid"], ready["address"]) == ("evaluation", worker.pid, None)
            version = world.trained(good, 1)
            eventually(lambda: world.state(version) == "blessed", 60)
            assert metric(ready["metrics"], "flywheel_gate_verdicts_total{") == 1.0
            worker.terminate()
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            publisher.close()
            database.close()


def metric(url: str, start: str) -> float:
    """The value of the only line that starts so."""
    with urllib.request.urlopen(url) as answer:
        (line,) = [line for line in answer.read().decode().splitlines() if line.startswith(start)]
    return float(line.rpartition(" ")[2])
