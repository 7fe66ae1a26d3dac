"""The whole process on a real Valkey: an import that outlives a kill, a folder and a stream that are followed."""

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.database import Database
from tests.integration.ingestion.door import SENTIMENT, declare, lines, tweets
from tests.integration.ingestion.process import IngestionProcess, running
from tests.integration.ingestion.remote.webserver import page, web_server
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def import_of(process: IngestionProcess, id: str) -> pb.Import:
    answer: pb.Import = process.stub.GetImport(pb.GetImportRequest(id=id), timeout=20)
    return answer


def rows_of(process: IngestionProcess) -> dict[str, int]:
    found = process.stub.ListSources(pb.ListSourcesRequest(pipeline="sentiment"), timeout=20).sources
    return {source.name: source.rows for source in found if not source.error}


def test_a_killed_process_s_import_goes_on_in_the_next_one_and_sources_are_followed(
    tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, drop = tmp_path / "home", tmp_path / "drop"
    drop.mkdir()
    asked, answer = threading.Event(), threading.Event()

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        if answer.wait(60):
            page(lines(tweets(50)).encode())(handler)

    with web_server() as web:
        web.pages["/rows.jsonl"] = slowly
        for name, value in {
            "IMPORT_HOSTS": "127.0.0.1",
            "IMPORT_PORTS": web.port,
            "IMPORT_NETWORKS": "127.0.0.0/8",
            "IMPORT_PLAIN_HTTP": "true",
            "IMPORT_FOLDERS": drop,
            "LEASE_SECONDS": 1,
        }.items():
            monkeypatch.setenv(f"FLYWHEEL_{name}", str(value))
        uri = f"http://127.0.0.1:{web.port}/rows.jsonl"
        with running(home, valkey.url) as process:
            wanted = pb.ImportUriRequest(header=pb.BatchHeader(pipeline="sentiment"), uri=uri)
            id = process.stub.ImportUri(wanted, timeout=20).id
            assert asked.wait(60)
            assert import_of(process, id).state == pb.IMPORT_STATE_RUNNING
            process.kill()
        answer.set()
        with running(home, valkey.url) as process:
            eventually(lambda: import_of(process, id).state == pb.IMPORT_STATE_SUCCEEDED, timeout=120)
            done = import_of(process, id)
            assert done.batch.accepted == 50
            follow(process, drop, valkey)
            eventually(lambda: rows_of(process) == {"drop": 6, "events": 4}, timeout=120)
            assert process.terminate() == 0


def follow(process: IngestionProcess, drop: Path, valkey: Valkey) -> None:
    (drop / "a.jsonl").write_text(lines(tweets(6, start=100)))
    with valkey.client() as client:
        for row in tweets(4, start=200):
            client.xadd("reviews", {"row": json.dumps(row)})
    sources = [
        {"name": "drop", "uri": str(drop), "every": 1},
        {"name": "events", "stream": "reviews", "batch_seconds": 0.2},
    ]
    database = Database(process.settings.resolved_database_url)
    declare(database, {**SENTIMENT, "data": {"sources": sources}})
    database.close()
