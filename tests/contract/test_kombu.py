"""The inside of kombu and Celery that we stand on. A failure here means: read their code before upgrading."""

import time
from importlib.metadata import version

from kombu.transport import redis as kombu_redis

from shared.messaging.claims import UNACKED_INDEX, Claims
from shared.messaging.handler import HandlerContext
from shared.storage.database import Database
from tests.support.messaging import leave, messaging_settings, publishing, running_worker, until_done
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def test_the_versions_are_those_that_were_measured() -> None:
    assert (version("celery"), version("kombu")) == ("5.7.0", "5.7.0")


def test_a_message_being_handled_is_in_kombu_s_index_under_its_delivery_tag(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url, visibility_seconds=2)
    seen: list[list[tuple[bytes, float]]] = []

    def handler(message: object, context: HandlerContext) -> None:
        with valkey.client() as client:
            for _ in range(2):
                index = client.zrange(UNACKED_INDEX, 0, -1, withscores=True)
                assert isinstance(index, list)
                seen.append(index)
                time.sleep(0.7)

    with publishing(settings, database), running_worker(settings, database, handler):
        until_done(database, leave(database))
        with valkey.client() as client:
            eventually(lambda: client.zcard(UNACKED_INDEX) == 0)
    ((tag, before),), ((same_tag, after),) = seen
    assert tag == same_tag
    assert after - before > 0.3, "the claim was not renewed"


def test_renewal_revives_no_message_that_was_acknowledged(valkey: Valkey, database: Database) -> None:
    claims = Claims(messaging_settings(valkey.url), database)
    with claims.held("msg-1", "tag-of-an-acknowledged-message") as free:
        assert free
        claims.renew()
    with valkey.client() as client:
        assert client.zcard(UNACKED_INDEX) == 0


def test_a_process_holds_a_message_once(valkey: Valkey, database: Database) -> None:
    claims = Claims(messaging_settings(valkey.url), database)
    with claims.held("msg-1", "a") as first, claims.held("msg-1", "b") as second, claims.held("msg-2", "c") as other:
        assert (first, second, other) == (True, False, True)
    with claims.held("msg-1", "d") as again:
        assert again


def test_kombu_s_names_are_still_there() -> None:
    assert UNACKED_INDEX == "unacked_index"
    assert callable(kombu_redis.Channel._brpop_read)
    assert callable(kombu_redis.Transport._deliver)
