"""What must not be in a queue does not stop the worker."""

import base64
import json

import pytest

from shared.config import Settings
from shared.contracts.codec import encode
from shared.contracts.routes import HOLD_BATCHES, RUN_JOB, Route
from shared.errors import FailedPrecondition, NotFound
from shared.messaging import broker, dead_letters
from shared.messaging.sender import Sender
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.outbox import Parcel
from shared.storage.tables import DeadLetter
from tests.support.messaging import (
    QUEUE,
    do_nothing,
    leave,
    messaging_settings,
    publishing,
    running_worker,
    until_done,
)
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def letters(database: Database) -> list[DeadLetter]:
    with database.read() as session:
        return list(session.query(DeadLetter).all())


def the_letter(database: Database) -> DeadLetter:
    (letter,) = eventually(lambda: letters(database))
    return letter


def send(settings: Settings, task: str, payload: bytes) -> None:
    sender = Sender(settings)
    sender.send([Parcel(new_id("msg"), task, QUEUE, payload)])
    sender.close()


def envelope(database: Database, route: Route = HOLD_BATCHES) -> bytes:
    with database.read() as session:
        return encode(route, route.message(), new_id("msg"), clock(session))


def message_without(key: str) -> bytes:
    entry = {
        "content-type": "application/x-protobuf",
        "content-encoding": "binary",
        "body": base64.b64encode(b"x").decode(),
        "headers": {"task": "ingestion.hold_batches", "id": "1"},
        "properties": {
            "delivery_tag": "1",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
        },
    }
    del entry[key]
    return json.dumps(entry).encode()


def test_list_entries_that_are_no_messages_become_dead_letters(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    entries = [
        b"no JSON",
        b"\xff\xfe\x00 no text",
        b"[]",
        b"7",
        b'{"a": 1}',
        message_without("body"),
        message_without("headers"),
        message_without("properties"),
        message_without("content-type"),
        message_without("body").replace(b'"headers"', b'"body": "%", "headers"'),
        message_without("body").replace(b'"headers"', b'"body": "", "headers"'),
    ]
    with publishing(settings, database), running_worker(settings, database, do_nothing):
        for number, entry in enumerate(entries, start=1):
            with valkey.client() as client:
                client.lpush(QUEUE, entry)
            eventually(lambda number=number: len(letters(database)) == number)  # type: ignore[misc]
            until_done(database, leave(database))
    assert {letter.queue for letter in letters(database)} == {QUEUE}


def test_a_body_that_is_no_envelope_becomes_a_dead_letter(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    with publishing(settings, database), running_worker(settings, database, do_nothing):
        send(settings, "ingestion.hold_batches", b"\x08\xff no envelope")
        letter = the_letter(database)
        assert letter.payload == b"\x08\xff no envelope"
        assert "can't be decoded" in letter.error
        until_done(database, leave(database))


def test_a_message_of_another_type_becomes_a_dead_letter(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    with publishing(settings, database), running_worker(settings, database, do_nothing):
        send(settings, "ingestion.hold_batches", envelope(database, RUN_JOB))
        assert "not 'flywheel.finetuning.v1.RunJob'" in the_letter(database).error
        until_done(database, leave(database))


@pytest.mark.parametrize("task", ["ingestion.no_such_task", "finetuning.run_job"])
def test_a_celery_task_that_the_worker_does_not_know_becomes_a_dead_letter(
    task: str, valkey: Valkey, database: Database
) -> None:
    settings = messaging_settings(valkey.url)
    with publishing(settings, database), running_worker(settings, database, do_nothing):
        send(settings, task, envelope(database))
        letter = the_letter(database)
        assert (letter.queue, letter.task) == (QUEUE, task)
        until_done(database, leave(database))
    with valkey.client() as client:
        assert client.zcard("unacked_index") == 0


def test_a_body_of_another_content_type_is_not_even_parsed(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    with publishing(settings, database), running_worker(settings, database, do_nothing):
        with valkey.client() as client:
            client.lpush(QUEUE, _pickled())
        assert "application/x-python-serialize" in the_letter(database).error
        until_done(database, leave(database))


def _pickled() -> str:
    return json.dumps(
        {
            "body": base64.b64encode(b"cos\nsystem\n(S'false'\ntR.").decode(),
            "content-type": "application/x-python-serialize",
            "content-encoding": "binary",
            "headers": {"task": "ingestion.hold_batches", "id": "1", "lang": "py"},
            "properties": {
                "delivery_tag": "1",
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
            },
        }
    )


def test_a_misspelt_queue_is_refused_by_the_sender(valkey: Valkey, database: Database) -> None:
    sender = Sender(messaging_settings(valkey.url))
    with pytest.raises(Exception, match="ingestoin"):
        sender.send([Parcel("msg-1", "ingestion.hold_batches", "ingestoin", b"")])
    sender.close()


def test_an_unreadable_dead_letter_is_not_replayed(database: Database) -> None:
    with database.write() as session:
        id = dead_letters.bury(session, queue=QUEUE, task="", payload=b"?", error="poison")
        assert dead_letters.count(session) == 1
        with pytest.raises(FailedPrecondition, match="can't be replayed"):
            dead_letters.replay(session, id)
        with pytest.raises(NotFound):
            dead_letters.replay(session, "dead-none")


def test_a_dead_letter_is_replayed_once(database: Database) -> None:
    payload = envelope(database)
    with database.write() as session:
        id = dead_letters.bury(session, queue=QUEUE, task=HOLD_BATCHES.task, payload=payload, error="broken")
        assert dead_letters.replay(session, id).startswith("msg-")
        assert dead_letters.count(session) == 0
        with pytest.raises(FailedPrecondition, match="was replayed"):
            dead_letters.replay(session, id)


def test_the_age_of_an_entry_that_is_no_message_is_zero(valkey: Valkey) -> None:
    settings = messaging_settings(valkey.url)
    with valkey.client() as client:
        client.lpush(QUEUE, b"no JSON")
    assert broker.queue_stats(settings)[QUEUE] == broker.QueueStats(1, 0.0)
