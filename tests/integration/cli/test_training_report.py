"""`flywheel report JOB`, from a job's history through the real control service."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.control.servicer import ControlServicer, register
from shared.config import load_settings
from shared.rpc.server import Server
from shared.storage.database import Database
from shared.storage.repositories import jobs
from tests.integration.cli.conftest import Command
from tests.integration.finetuning.support import World, scripted

REPORT = {
    "base": "minilm",
    "data": {"rows": 20, "tokens": 4000},
    "steps": 3,
    "seconds": 2.5,
    "curve": {"train/loss": [[1, 0.9], [3, 0.4]]},
    "lost": [{"row_id": "ab" * 32, "loss": 3.5, "columns": {"text": "<b>awful</b>"}}],
    "looked_at": 4,
}


@pytest.fixture
def world(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A job's surroundings, and a control service that commands find."""
    settings = load_settings(home=tmp_path / "home", broker_url="redis://127.0.0.1:1/0")
    server = Server("127.0.0.1:0")
    register(server, ControlServicer(settings, database))
    server.start()
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYWHEEL_CONTROL_ADDRESS", server.address)
    made = World.make(database, tmp_path / "home")
    made.dataset()
    yield made
    server.stop(1)


def test_a_job_that_ended_has_a_report_a_page_and_json(world: World, flywheel: Command, tmp_path: Path) -> None:
    job = world.job()
    world.run(job, scripted("finish"))
    with world.database.write() as session:
        jobs.append_event(session, job, "report", REPORT)
    said = flywheel("report", job, "--html", str(tmp_path / "page.html"))
    assert (said.code, said.err) == (0, "")
    assert "tokens of one pass  4,000" in said.out
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;awful" in page
    assert page.count("<svg") == 1
    told = json.loads(flywheel("report", job, "--json").out)
    assert (told["job"]["state"], told["report"]["lost"][0]["loss"]) == ("succeeded", 3.5)
    watched = flywheel("watch", job)
    assert f"report     flywheel report {job} shows it" in watched.out
    assert "awful" not in watched.out


def test_a_job_that_has_not_ended_says_where_to_look_meanwhile(world: World, flywheel: Command) -> None:
    job = world.job()
    said = flywheel("report", job)
    assert said.code == 1
    assert f"job {job} is queued" in said.err
    assert "TensorBoard" in said.err
    assert flywheel("report", "job-" + "0" * 20).code == 1


def test_a_job_that_was_cancelled_before_its_first_step_has_an_empty_report(
    world: World, flywheel: Command, tmp_path: Path
) -> None:
    job = world.job()
    world.want(job, "cancel")
    said = flywheel("report", job, "--html", str(tmp_path / "page.html"))
    assert said.code == 0
    assert "cancelled" in said.out
    assert "No step of it was ever taken" in (tmp_path / "page.html").read_text()
