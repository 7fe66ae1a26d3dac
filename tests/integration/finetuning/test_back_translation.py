"""Rows paraphrased by served translation models: once, kept for every run that follows; or a clear word why not."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.control.resuming import resume
from services.control.verifying import verify
from services.finetuning.paraphrasing import asking, paraphrases
from services.finetuning.workplace import Workplace
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.repositories.budgets import Amount
from tests.integration.finetuning.support import World, scripted
from tests.integration.inference.platform import Platform
from tests.support.tiny_encoders import tiny_seq2seq, write_version
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

KEYS = {"there": "en-de", "back": "de-en", "share": 0.5}
METHOD: dict[str, Any] = {
    "name": "full",
    "batch_size": 4,
    "precision": "float32",
    "epochs": 4,
    "augmentation": {"back_translation": KEYS},
}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home", lease_seconds=30, grace_seconds=60)
    made.dataset()
    return made


@pytest.fixture
def served(world: World, database: Database, tmp_path: Path) -> Iterator[Platform]:
    """Two translators, champions of their pipelines; the world knows where they are."""
    quiet_libraries()
    platform = Platform(tmp_path / "platform", database)
    for seed, name in enumerate(("en-de", "de-en")):
        platform.declare(name, "translation")
        folder = write_version(tmp_path / name, "translation", tiny_seq2seq("bart", seed))
        platform.point(name, platform.add_folder(name, folder))
    platform.start()
    eventually(lambda: all(platform.holds(name, 1) for name in ("en-de", "de-en")), 120)
    assert platform.application is not None
    world.limit(inference_address=platform.application.address)
    yield platform
    platform.close()


@pytest.fixture
def away() -> Iterator[str]:
    """An address that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def clone(world: World, job: str, **about: Any) -> str:
    with world.database.write() as session:
        spec = jobs.get(session, job).spec
        return jobs.create(
            session,
            pipeline="mood",
            dataset_version=1,
            spec=spec,
            trigger="manual",
            max_attempts=3,
            clone_of=job,
            **about,
        ).id


def said(world: World, job: str) -> list[str]:
    return [str(event["message"]) for event in world.events(job, "log") if "back-translation" in str(event["message"])]


def test_a_run_is_paraphrased_once_and_made_again_without_the_translators(
    world: World, served: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paraphrases, "PROGRESS_SECONDS", 0.0)
    base = tiny_encoder(tmp_path / "base")
    job = world.job(base=str(base), method=METHOD, seed=5)
    world.train(job)
    assert world.get(job).state == "succeeded", world.runs(job)[-1].error
    begun, *going, ended = said(world, job)
    assert going[-1].startswith("back-translation: ")
    assert "by en-de and de-en" in begun
    assert "by en-de@1, de-en@1: " in ended
    root = f"paraphrases/mood/{job}"
    (place,) = world.artifacts.list(root)
    kept = pq.read_table(world.artifacts.fetch_folder(f"{root}/{place}") / "paraphrases.parquet")
    assert kept.num_rows > 0
    assert not any(" film number " in text for text in kept.column("text").to_pylist())

    served.stop()
    again = clone(world, job, budget={"steps": 7})
    world.train(again)
    assert world.get(again).code == "BUDGET", world.runs(again)[-1].error
    with world.database.write() as session:
        resume(session, again, Amount(steps=1000), allow_revision=False, max_attempts=3)
    world.train(again)
    assert world.get(again).state == "succeeded", world.runs(again)[-1].error
    assert world.runs(again)[-1].start_step == 7
    first, second = (version for version in world.versions() if version.model == "mood")
    assert first.conditions["paraphrases"].startswith("back-translated by en-de@1, de-en@1, ")
    assert (first.weights_digest, first.conditions) == (second.weights_digest, second.conditions)
    assert said(world, again) == []

    with world.database.write() as session:
        check = verify(session, "mood", 2, "", max_attempts=1).job.id
    world.train(check)
    assert world.get(check).reason == f"identical: weights_digest {first.weights_digest}"

    world.artifacts.delete(root)
    with world.database.write() as session:
        check = verify(session, "mood", 1, "", max_attempts=3).job.id
    world.train(check)
    assert world.get(check).state == "failed"
    assert "paraphrases that the version was trained on are gone" in world.get(check).reason


def test_a_model_that_is_not_there_ends_the_job_at_once(world: World, served: Platform) -> None:
    for keys, words in (
        ({**KEYS, "there": "nobody"}, "back_translation.there: no model 'nobody'"),
        ({**KEYS, "back": "mood-only"}, "back_translation.back: "),
    ):
        if keys["back"] == "mood-only":
            served.declare("mood-only", "classification")
        job = world.job(method={**METHOD, "augmentation": {"back_translation": keys}})
        world.run(job, scripted("finish"))
        ended = world.get(job)
        assert (ended.state, ended.code) == ("failed", "BAD_SPEC")
        assert words in ended.reason
        assert len(world.runs(job)) == 1
        assert not world.artifacts.list(f"paraphrases/mood/{job}")


def test_a_server_that_is_away_is_tried_again_a_bounded_number_of_times(
    world: World, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    world.limit(inference_address=away)
    job = world.job(method=METHOD, max_attempts=2)
    world.run(job, scripted("finish"))
    assert (world.get(job).state, world.get(job).code) == ("queued", "UNAVAILABLE")
    world.run(job, scripted("finish"))
    ended = world.get(job)
    assert (ended.state, ended.code) == ("failed", "UNAVAILABLE")
    assert "back_translation.there: inference at 127.0.0.1" in ended.reason
    assert [run.state for run in world.runs(job)] == ["failed", "failed"]


@pytest.mark.parametrize("server", ["silent", "away"])
@pytest.mark.parametrize(("wanted", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_job_stops_on_request_while_it_waits_for_translations(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    server: str,
    wanted: jobs.Wanted,
    state: str,
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 600.0)
    world.limit(inference_address=request.getfixturevalue(server))
    job = world.job(method=METHOD)
    thread = world.start(job, scripted("finish"))
    eventually(lambda: said(world, job), 60)
    world.want(job, wanted)
    thread.join(60)
    assert not thread.is_alive()
    assert world.get(job).state == state
    assert Workplace(world.settings.home, job).folder.exists() == (wanted == "pause")
