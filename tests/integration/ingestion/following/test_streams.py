"""Redis Streams on a real server: every entry's row comes in once, whoever dies and when."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from services.ingestion.following.streams import StreamFollower
from services.ingestion.intake.receiving import Header
from services.ingestion.reading.received import Received
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import Unavailable
from shared.messaging.streams import StreamGroup, before
from shared.pipelines.schema import PipelineSpec
from shared.rows import RowError
from shared.storage.database import Database
from shared.storage.repositories import batches, sources
from shared.storage.tables import Batch
from tests.integration.ingestion.door import SENTIMENT, Door, declare, open_door, tweets
from tests.support.valkey import Valkey
from tests.support.wait import eventually as soon

KEY, GROUP = "events", "flywheel-sentiment"


def eventually(check: Callable[[], Any], timeout: float = 60) -> None:
    """Each look asks a server and a database, so it is not asked all the time."""
    soon(check, timeout, interval=0.1)


@pytest.fixture
def door(database: Database, tmp_path: Path, valkey: Valkey) -> Iterator[Door]:
    with open_door(database, tmp_path / "home", broker_url=valkey.url) as opened:
        yield opened


@pytest.fixture
def client(valkey: Valkey) -> Iterator["redis.Redis"]:
    with valkey.client() as made:
        yield made


def send(client: "redis.Redis", rows: list[dict[str, Any]], **more: Any) -> None:
    with client.pipeline() as pipe:
        for row in rows:
            pipe.xadd(KEY, {"row": json.dumps(row)}, **more)
        pipe.execute()


def spec_with(**source: Any) -> PipelineSpec:
    declared = {"name": "events", "stream": KEY, "batch_rows": 100, "batch_seconds": 0.1, **source}
    return PipelineSpec.model_validate({**SENTIMENT, "data": {"sources": [declared]}})


def follower_of(door: Door, name: str = "one", claim_seconds: float = 60.0, **source: Any) -> StreamFollower:
    spec = spec_with(**source)
    declare(door.database, spec.model_dump(mode="json"))
    settings, receiver = door.settings, door.rooms.receiver
    return StreamFollower(settings, door.database, receiver, spec, spec.data.sources[0], name, claim_seconds)


@contextmanager
def following(*followers: StreamFollower) -> Iterator[threading.Event]:
    stop = threading.Event()
    threads = [threading.Thread(target=one.run, args=(stop,), daemon=True) for one in followers]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def step_for_ever(follower: StreamFollower, group: StreamGroup) -> None:
    while True:
        follower.step(group)


def all_batches(door: Door) -> list[Batch]:
    with door.database.read() as session:
        return batches.page(session, "sentiment", 500, 0)


def accepted(door: Door) -> int:
    return sum(batch.accepted for batch in all_batches(door))


def source(door: Door) -> pb.Source:
    found: list[pb.Source] = door.stub.ListSources(pb.ListSourcesRequest(pipeline="sentiment"), timeout=20).sources
    assert len(found) == 1
    return found[0]


def cursor(door: Door) -> dict[str, Any]:
    with door.database.read() as session:
        state = sources.find(session, "sentiment", "events")
    assert state
    return state.cursor


def pending(client: "redis.Redis") -> int:
    return int(client.xpending(KEY, GROUP)["pending"])


def test_ten_thousand_entries_come_in_once_by_several_consumers(door: Door, client: "redis.Redis") -> None:
    followers = [follower_of(door, name, batch_rows=2000) for name in ("one", "two")]
    with following(*followers):
        for start in range(0, 10_000, 2500):
            send(client, tweets(2500, start=start))
        eventually(lambda: accepted(door) == 10_000 and pending(client) == 0, timeout=120)
        eventually(lambda: (source(door).rows, source(door).pending) == (10_000, 0), timeout=30)
    found = all_batches(door)
    assert sum(batch.received for batch in found) == 10_000
    assert {batch.source for batch in found} == {"events"}
    assert len(found) < 200


def test_entries_are_json_or_fields_and_poison_goes_to_quarantine_without_holding_up_others(
    door: Door, client: "redis.Redis"
) -> None:
    client.xadd(KEY, {"row": '{"text": "fine",\n "label": "neutral"}'})
    client.xadd(KEY, {"text": "flat", "label": "positive"})
    client.xadd(KEY, {"row": '{"text": '})
    client.xadd(KEY, {"row": ""})
    client.xadd(KEY, {"row": b"PK\x03\x04"})
    client.xadd(KEY, {"text": b"\xff\xfe", "label": "positive"})
    client.xadd(KEY, {"row": '{"text": "' + "x" * 70_000 + '"}'})
    client.xadd(KEY, {"text": "一条中文评论", "label": "positive"})
    with following(follower_of(door)):
        eventually(lambda: accepted(door) == 3 and pending(client) == 0)
    (batch,) = all_batches(door)
    assert (batch.received, batch.quarantined) == (8, 5)
    rows = door.quarantine(pb.Batch(id=batch.id))
    assert [row.line for row in rows] == [3, 4, 5, 6, 7]
    assert rows[0].reason == "MALFORMED_JSON"


def test_a_source_s_own_names_are_mapped(door: Door, client: "redis.Redis") -> None:
    client.xadd(KEY, {"row": json.dumps({"body": {"said": "hello"}, "mood": "neutral"})})
    with following(follower_of(door, fields={"text": "body.said", "label": "mood"})):
        eventually(lambda: accepted(door) == 1)


def test_what_was_committed_and_not_acknowledged_is_known_by_the_consumer_that_takes_over(
    door: Door, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first consumer dies between commit and acknowledgement; the second gets its entries in other company."""
    send(client, [*tweets(150), {"text": "no label"}])

    def dies(*_: object) -> None:
        raise SystemExit

    first = follower_of(door, "one", batch_rows=151, batch_seconds=30)
    with monkeypatch.context() as patched:
        patched.setattr(StreamFollower, "_pay", lambda self, group: dies() if self._owed else None)
        group = StreamGroup(client, KEY, GROUP, "one")
        group.make("")
        with pytest.raises(SystemExit):
            step_for_ever(first, group)
    assert (accepted(door), pending(client)) == (150, 151)
    send(client, tweets(10, start=1000))
    with following(follower_of(door, "two", claim_seconds=-0.05)):
        eventually(lambda: accepted(door) == 160 and pending(client) == 0)
    assert [batch.received for batch in all_batches(door)] == [10, 151]
    assert source(door).rows == 161


def test_entries_of_a_consumer_that_died_before_its_commit_are_taken_over(door: Door, client: "redis.Redis") -> None:
    send(client, tweets(50))
    group = StreamGroup(client, KEY, GROUP, "dead")
    group.make("")
    assert len(group.read(30, 1)) == 30
    with following(follower_of(door, claim_seconds=-0.05)):
        eventually(lambda: accepted(door) == 50 and pending(client) == 0)


def test_an_entry_that_was_deleted_while_it_was_held_is_not_waited_for(door: Door, client: "redis.Redis") -> None:
    send(client, tweets(10))
    group = StreamGroup(client, KEY, GROUP, "dead")
    group.make("")
    held = group.read(10, 1)
    client.xdel(KEY, held[0].id, held[5].id)
    with following(follower_of(door, claim_seconds=-0.05)):
        eventually(lambda: accepted(door) == 8 and pending(client) == 0)


def test_a_slow_consumer_leaves_out_what_another_one_took_over(door: Door, client: "redis.Redis") -> None:
    send(client, tweets(20))
    group = StreamGroup(client, KEY, GROUP, "one")
    group.make("")
    slow = follower_of(door, "one", batch_seconds=60)
    slow.step(group)
    assert len(slow._buffer) == 20
    taken = StreamGroup(client, KEY, GROUP, "two").claim(0, 5)
    slow._commit(group)
    assert accepted(door) == 15
    assert len(taken) == pending(client) == 5


def test_one_entry_that_the_service_stumbles_over_is_set_aside_alone(
    door: Door, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, [*tweets(7), {"text": "stumble", "label": "neutral"}, *tweets(8, start=7)])
    follower = follower_of(door)
    receive = door.rooms.receiver.receive

    def stumble(header: Header, rows: Iterator[Received], *arguments: Any) -> Any:
        held = list(rows)
        if any(not isinstance(row.fields, RowError) and row.fields["text"] == "stumble" for row in held):
            raise ZeroDivisionError
        return receive(header, held, *arguments)

    monkeypatch.setattr(door.rooms.receiver, "receive", stumble)
    with following(follower):
        eventually(lambda: accepted(door) == 15 and pending(client) == 0)
    (bad,) = [batch for batch in all_batches(door) if batch.quarantined]
    assert "ZeroDivisionError" in door.quarantine(pb.Batch(id=bad.id))[0].message


def test_what_every_entry_stumbles_over_is_told_and_costs_no_entry(
    door: Door, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, tweets(6))

    def stumble(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.receiver, "receive", stumble)
        with following(follower_of(door)):
            eventually(lambda: source(door).error == "ZeroDivisionError: a bug")
    assert (all_batches(door), pending(client)) == ([], 6)
    with following(follower_of(door, "two", claim_seconds=-0.05)):
        eventually(lambda: accepted(door) == 6 and not source(door).error)


@pytest.mark.parametrize("batch_rows", [5, 100])
def test_a_store_that_is_away_makes_entries_wait(
    door: Door, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    """Also when a batch is full already."""
    send(client, tweets(8))
    away = threading.Event()
    receive = door.rooms.receiver.receive

    def sometimes(*arguments: Any, **options: Any) -> Any:
        if not away.is_set():
            raise Unavailable("the artifact store does not answer")
        return receive(*arguments, **options)

    monkeypatch.setattr(door.rooms.receiver, "receive", sometimes)
    with following(follower_of(door, batch_rows=batch_rows)):
        eventually(lambda: "the artifact store does not answer" in source(door).error)
        assert accepted(door) == 0
        away.set()
        eventually(lambda: accepted(door) == 8 and not source(door).error)
    assert pending(client) == 0


def test_a_key_that_holds_no_stream_is_told(door: Door, client: "redis.Redis") -> None:
    client.lpush(KEY, "not a stream")
    with following(follower_of(door)):
        eventually(lambda: "holds no stream" in source(door).error)
        client.delete(KEY)
        send(client, tweets(3))
        eventually(lambda: accepted(door) == 3 and not source(door).error)


def test_a_lost_group_goes_on_where_it_was_and_a_stream_begun_anew_from_its_beginning(
    door: Door, client: "redis.Redis"
) -> None:
    send(client, tweets(40))
    with following(follower_of(door)):
        eventually(lambda: accepted(door) == 40 and pending(client) == 0)
        last = client.xinfo_stream(KEY)["last-generated-id"].decode()
        eventually(lambda: cursor(door)["done"] == last)
        client.xgroup_destroy(KEY, GROUP)
        send(client, tweets(3, start=100))
        eventually(lambda: accepted(door) == 43)
        assert [batch.received for batch in all_batches(door)] == [3, 40]
        client.flushdb()
        client.xadd(KEY, {"text": "after the flood", "label": "neutral"}, id="1-1")
        eventually(lambda: accepted(door) == 44)


def test_a_server_that_is_killed_and_comes_back_is_followed_on(
    database: Database, tmp_path: Path, own_valkey: Valkey
) -> None:
    with open_door(database, tmp_path / "home", broker_url=own_valkey.url) as door, following(follower_of(door)):
        with own_valkey.client() as client:
            send(client, tweets(20))
        eventually(lambda: accepted(door) == 20)
        own_valkey.kill()
        eventually(lambda: "does not answer" in source(door).error)
        own_valkey.restart()
        with own_valkey.client() as client:
            send(client, tweets(20, start=20))
            eventually(lambda: accepted(door) == 40 and pending(client) == 0)
        eventually(lambda: not source(door).error)


def test_a_server_that_hangs_is_told_and_followed_on_once_it_answers(
    database: Database, tmp_path: Path, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.streams.PATIENCE_SECONDS", 1.0)
    program = own_valkey.server._program
    assert program
    with (
        open_door(database, tmp_path / "home", broker_url=own_valkey.url) as door,
        following(follower_of(door)),
        own_valkey.client() as client,
    ):
        send(client, tweets(5))
        eventually(lambda: accepted(door) == 5)
        program.process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: "does not answer" in source(door).error)
        finally:
            program.process.send_signal(signal.SIGCONT)
        send(client, tweets(5, start=5))
        eventually(lambda: accepted(door) == 10 and not source(door).error)


def test_streams_of_other_servers_are_named_in_a_setting(
    database: Database, tmp_path: Path, valkey: Valkey, client: "redis.Redis"
) -> None:
    send(client, tweets(4))
    servers = f"ours={valkey.url}"
    with open_door(database, tmp_path / "home", stream_servers=servers) as door:
        with following(follower_of(door, redis="ours")):
            eventually(lambda: accepted(door) == 4)
        with following(follower_of(door, redis="theirs")):
            eventually(lambda: "'theirs' is not in FLYWHEEL_STREAM_SERVERS, which names ours" in source(door).error)
        assert valkey.server.password not in source(door).error


@pytest.mark.parametrize(("id", "wanted"), [("5-3", "5-2"), ("5-0", f"4-{2**64 - 1}"), ("0-0", "0-0")])
def test_the_id_before_another(id: str, wanted: str) -> None:
    assert before(id) == wanted
