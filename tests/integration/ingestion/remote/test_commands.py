"""`flywheel import`, `flywheel imports` and `flywheel data sources` against the service."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from shared.cli import output
from shared.cli.main import execute
from shared.client import FlywheelClient
from shared.storage.repositories import imports
from tests.integration.ingestion.door import SENTIMENT, Door, declare, lines, tweets


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def running(door: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The service with its importer at work, found by commands and clients; what it logs is not in their output."""
    monkeypatch.setenv("FLYWHEEL_INGESTION_ADDRESS", door.address)
    with capture_logs():
        door.rooms.importer.start()
        yield door
        door.rooms.importer.stop(30)


@pytest.fixture
def flywheel(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> Outcome:
        output.console.cache_clear()
        code = execute(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def test_an_import_is_followed_to_its_batch(running: Door, drop: Path, flywheel: Command) -> None:
    (drop / "rows.jsonl").write_text(lines(tweets(12)) + "{}\n")
    done = flywheel("import", f"file://{drop}/rows.jsonl", "--pipeline", "sentiment", "--licence", "MIT")
    assert done.code == 0, done
    assert "succeeded" in done.out
    assert "13 rows: 12 accepted, 0 duplicates, 1 in quarantine" in done.out
    told = json.loads(flywheel("import", f"file://{drop}/rows.jsonl", "-p", "sentiment", "--json").out)
    assert (told["state"], told["rows"]) == ("succeeded", 0)
    listed = json.loads(flywheel("imports", "--pipeline", "sentiment", "--json").out)
    assert [one["state"] for one in listed] == ["succeeded", "succeeded"]
    assert listed[0]["batch"]["id"] == listed[1]["batch"]["id"]
    assert "100%" in flywheel("imports").out


def test_an_import_that_comes_to_nothing_or_is_refused_is_exit_1(running: Door, drop: Path, flywheel: Command) -> None:
    failed = flywheel("import", f"file://{drop}/none.jsonl", "--pipeline", "sentiment")
    assert failed.code == 1
    assert "failed: no file" in failed.out
    refused = flywheel("import", "https://example.org/rows", "--pipeline", "sentiment")
    assert refused.code == 1
    assert refused.err == "error: host example.org is not allowed here; FLYWHEEL_IMPORT_HOSTS allows: nothing\n"
    assert flywheel("import", "rows.jsonl").code == 2


def test_an_import_is_left_to_itself_and_ended(
    door: Door, drop: Path, flywheel: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody runs it here."""
    monkeypatch.setenv("FLYWHEEL_INGESTION_ADDRESS", door.address)
    (drop / "rows.jsonl").write_text(lines(tweets(3)))
    left = json.loads(flywheel("import", f"file://{drop}/rows.jsonl", "-p", "sentiment", "--detach", "--json").out)
    assert left["state"] == "queued"
    ended = flywheel("imports", "--cancel", left["id"], "--reason", "wrong file")
    assert (ended.code, "cancelled: wrong file" in ended.out) == (0, True)
    assert flywheel("imports", "--cancel", "import-none").err == "error: no import 'import-none'\n"


def test_sources_are_listed(door: Door, drop: Path, flywheel: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_INGESTION_ADDRESS", door.address)
    declared = [{"name": "drop", "uri": str(drop)}, {"name": "events", "stream": "reviews"}]
    declare(door.database, {**SENTIMENT, "data": {"sources": declared}})
    listed = json.loads(flywheel("data", "sources", "--json").out)
    assert [(one["name"], one["kind"], one["seen_at"]) for one in listed] == [
        ("drop", "folder", None),
        ("events", "redis_stream", None),
    ]
    shown = flywheel("data", "sources", "sentiment").out
    assert f"file://{drop}/" in shown
    assert "stream reviews of the broker" in shown
    assert flywheel("data", "sources", "nope").code == 1
    for name, reason, longest in (("a", "no such object", 3600), ("b", "no rows", 0)):
        fail(door, f"file://{drop}/{name}.jsonl", reason, longest)
    one = json.loads(flywheel("data", "sources", "--json").out)[0]
    assert (one["retrying"], one["refused"], one["next_try_at"] > "2000") == (1, 1, True)
    shown = flywheel("data", "sources", "sentiment").out
    assert "no rows (1 file tried again, 1 file left out until changed)" in " ".join(shown.split())


def fail(door: Door, uri: str, reason: str, longest_wait: float) -> None:
    with door.database.write() as session:
        id = imports.ask(session, "sentiment", uri, {}, source="drop").id
        lease = imports.take(session, id, "somebody", 60)
        assert lease
        imports.fail(session, lease, reason, longest_wait)


def test_a_client_watches_an_import(running: Door, drop: Path) -> None:
    (drop / "rows.jsonl").write_text(lines(tweets(5)))
    with FlywheelClient.from_environment() as client:
        asked = client.import_uri("sentiment", f"file://{drop}/rows.jsonl", batch_key="monday")
        *_, last = client.watch_import(asked.id)
        assert (last.state, last.is_over) == ("succeeded", True)
        assert last.batch
        assert last.batch.accepted == 5
        assert client.import_uri("sentiment", f"file://{drop}/rows.jsonl", batch_key="monday").id == asked.id
