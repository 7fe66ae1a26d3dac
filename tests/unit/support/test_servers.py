"""The servers that other tests stand on."""

import fsspec
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import inspect, text

from shared.storage.database import Database
from tests.support.s3 import S3
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def test_valkey_keeps_tests_apart_and_wants_its_password(valkey: Valkey) -> None:
    other = Valkey(valkey.server)
    with valkey.client() as mine, other.client() as theirs:
        mine.set("key", "mine")
        assert theirs.get("key") is None
    with (
        redis.Redis(port=valkey.server.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_valkey_comes_back_with_its_data_after_a_kill(own_valkey: Valkey) -> None:
    with own_valkey.client() as client:
        client.set("key", "kept")
        client.execute_command("WAITAOF", 1, 0, 5000)
        own_valkey.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own_valkey.restart()
        assert client.get("key") == b"kept"
        own_valkey.restart(keep=False)
        assert client.get("key") is None


def test_any_database_has_every_table(any_database: Database) -> None:
    assert {"jobs", "outbox", "dead_letters"} <= set(inspect(any_database.engine).get_table_names())
    with any_database.write() as session:
        assert session.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 0


def test_s3_stores_and_gives_back(s3: S3) -> None:
    files, root = fsspec.core.url_to_fs(s3.url, client_kwargs={"endpoint_url": s3.endpoint})
    files.pipe(f"{root}/file", b"content")
    assert files.cat(f"{root}/file") == b"content"


def test_eventually_returns_what_came_true_and_fails_with_the_last_reason() -> None:
    values = iter([0, 0, 7])
    assert eventually(lambda: next(values)) == 7
    with pytest.raises(AssertionError, match="still False after"):
        eventually(lambda: False, timeout=0.05)
