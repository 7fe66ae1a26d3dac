"""Imports by https from a real server: what is fetched, and what a client can't be made to reach by it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from services.ingestion.remote.fetching import Fetcher
from services.ingestion.remote.places import Found
from shared.config import load_settings
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FlywheelError,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from tests.integration.ingestion.door import Door, lines, tweets
from tests.integration.ingestion.remote.asking import kept, run
from tests.integration.ingestion.remote.webserver import WebServer, page, web_server
from tests.support.certificates import Authority, Pair
from tests.support.processes import free_ports

ROWS = lines(tweets(30)).encode()
NAMES = "subjectAltName=DNS:data.example.test,DNS:cdn.example.test"


@dataclass
class Names:
    """A resolver that says what a test wants, one answer after another; the last one stays."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.answers.get(host, [["127.0.0.1"]])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Pair:
    return authority.sign("server", names=NAMES)


@pytest.fixture
def web(certificate: Pair) -> Iterator[WebServer]:
    with web_server(certificate) as server:
        server.pages["/rows.jsonl"] = page(ROWS, ETag='"one"')
        yield server


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def fetcher(web: WebServer, names: Names, authority: Authority, tmp_path: Path) -> Fetcher:
    return fetcher_of(web, names, authority, tmp_path)


def fetcher_of(web: WebServer, names: Names, authority: Authority, tmp_path: Path, **overrides: Any) -> Fetcher:
    (tmp_path / "home" / "ingestion").mkdir(parents=True, exist_ok=True)
    wanted = {
        "home": tmp_path / "home",
        "import_hosts": "*.example.test, 127.0.0.1",
        "import_ports": f"443,{web.port}",
        "import_networks": "127.0.0.0/8",
        "import_ca": authority.path,
    }
    return Fetcher(load_settings(**{**wanted, **overrides}), names)


def url(web: WebServer, path: str = "/rows.jsonl", host: str = "data.example.test") -> str:
    return f"https://{host}:{web.port}{path}"


def fetch(fetcher: Fetcher, uri: str) -> tuple[bytes, Found]:
    """What came, and what it is known by."""
    place = fetcher.place(uri)
    (found,) = place.files()
    got = fetcher.fetch(place, found, lambda size: None)
    with got.file:
        return got.file.read(), got.found


def fails(fetcher: Fetcher, uri: str, kind: type[FlywheelError], match: str) -> None:
    with pytest.raises(kind, match=match):
        fetch(fetcher, uri)


def test_a_file_comes_whole_and_is_known_by_its_tag(fetcher: Fetcher, web: WebServer) -> None:
    body, found = fetch(fetcher, url(web))
    assert body == ROWS
    assert (found.name, found.size, found.identity) == ("rows.jsonl", len(ROWS), '"one"')
    assert web.asked == [("/rows.jsonl", f"data.example.test:{web.port}")]


def test_an_import_is_one_batch_however_often_it_is_asked_for(door: Door, fetcher: Fetcher, web: WebServer) -> None:
    door.rooms.importer._fetcher = fetcher
    door.rooms.imports._policy = fetcher.policy
    secret = url(web, "/rows.jsonl?signature=secret")
    web.pages["/rows.jsonl?signature=secret"] = page(ROWS)
    first, again = run(door, secret), run(door, secret)
    assert (first.state, first.batch.accepted, first.total_bytes) == (pb.IMPORT_STATE_SUCCEEDED, 30, len(ROWS))
    assert again.batch.id == first.batch.id
    assert kept(door) == 1
    assert "secret" not in str(first) + str(again)
    assert first.uri == url(web, "/rows.jsonl?…")
    web.pages["/rows.jsonl?signature=secret"] = page(lines(tweets(31)).encode())
    assert run(door, secret).batch.accepted == 1


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "0.0.0.0",
        "224.0.0.1",
        "::ffff:10.0.0.1",
    ],
)
def test_a_name_that_leads_to_an_address_inside_is_refused_before_any_connection(
    fetcher: Fetcher, web: WebServer, names: Names, address: str
) -> None:
    names.answers["data.example.test"] = [["127.0.0.1", address]]
    fails(fetcher, url(web), PermissionDenied, "is not public")
    assert not web.asked


def test_the_connection_goes_to_the_address_that_was_checked_and_a_name_is_resolved_once(
    fetcher: Fetcher, web: WebServer, names: Names
) -> None:
    """The second answer would lead elsewhere: nobody asks for it."""
    names.answers["data.example.test"] = [["127.0.0.1"], ["169.254.169.254"]]
    assert fetch(fetcher, url(web))[0] == ROWS
    assert names.asked == ["data.example.test"]
    fails(fetcher, url(web), PermissionDenied, "169.254.169.254")
    assert len(web.asked) == 1


def test_a_redirect_is_followed_to_an_allowed_host_and_checked_anew(
    fetcher: Fetcher, web: WebServer, names: Names
) -> None:
    web.pages["/old"] = page(status=302, Location=url(web, host="cdn.example.test"))
    web.pages["/near"] = page(status=307, Location="/rows.jsonl")
    assert fetch(fetcher, url(web, "/old"))[0] == ROWS
    assert fetch(fetcher, url(web, "/near"))[0] == ROWS
    names.answers["cdn.example.test"] = [["10.0.0.1"]]
    fails(fetcher, url(web, "/old"), PermissionDenied, "10.0.0.1")


@pytest.mark.parametrize(
    ("location", "match"),
    [
        ("http://data.example.test/rows.jsonl", "another scheme"),
        ("file:///etc/passwd", "another scheme"),
        ("s3://bucket/key", "another scheme"),
        ("gopher://data.example.test/", "redirects elsewhere"),
        ("https://elsewhere.test/rows", "host elsewhere.test"),
        ("https://data.example.test:22/rows", "port 22"),
        ("https://169.254.169.254/latest/meta-data", "host 169.254.169.254"),
        ("https://user:word@data.example.test/", "user and password"),
        ("https://2130706433/", "four decimal numbers"),
    ],
)
def test_a_redirect_to_where_no_uri_may_lead_is_refused(
    fetcher: Fetcher, web: WebServer, location: str, match: str
) -> None:
    web.pages["/away"] = page(status=301, Location=location)
    fails(fetcher, url(web, "/away"), PermissionDenied, match)
    assert len(web.asked) == 1


def test_redirects_without_end_are_given_up(fetcher: Fetcher, web: WebServer) -> None:
    web.pages["/round"] = page(status=302, Location="/round")
    fails(fetcher, url(web, "/round"), FailedPrecondition, "more than 5 times")
    assert len(web.asked) == 6


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFound),
        (403, PermissionDenied),
        (400, FailedPrecondition),
        (206, FailedPrecondition),
        (503, Unavailable),
    ],
)
def test_an_answer_without_rows_is_told_for_what_it_is(
    fetcher: Fetcher, web: WebServer, status: int, kind: type[FlywheelError]
) -> None:
    web.pages["/"] = page(b"{}", status=status, Retry_After="7")
    with pytest.raises(kind, match=str(status)) as told:
        fetch(fetcher, url(web, "/"))
    if isinstance(told.value, Unavailable):
        assert told.value.retry_seconds == 7


def test_a_certificate_of_another_name_or_of_nobody_we_trust_is_refused(
    fetcher: Fetcher, web: WebServer, names: Names, authority: Authority, tmp_path: Path
) -> None:
    fails(fetcher, url(web, host="wrong.example.test"), PermissionDenied, "certificate is not trusted")
    stranger = Authority(tmp_path / "stranger", "stranger")
    fails(fetcher_of(web, names, stranger, tmp_path), url(web), PermissionDenied, "certificate is not trusted")
    assert not web.asked


def test_proxies_of_the_environment_are_not_used(
    fetcher: Fetcher, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports()[0]}")
    assert fetch(fetcher, url(web))[0] == ROWS


def test_a_body_that_ends_early_is_worth_another_try(fetcher: Fetcher, web: WebServer) -> None:
    web.pages["/cut"] = page(ROWS[:100], Content_Length=str(len(ROWS)))
    fails(fetcher, url(web, "/cut"), Unavailable, "cut")


def test_a_file_that_is_too_large_is_refused_with_and_without_a_declared_length(
    web: WebServer, names: Names, authority: Authority, tmp_path: Path
) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            return

    small = fetcher_of(web, names, authority, tmp_path, import_max_bytes=1 << 20)
    web.pages["/endless"] = endless
    web.pages["/declared"] = page(b"", Content_Length=str(1 << 40))
    for path in ("/endless", "/declared"):
        fails(small, url(web, path), FailedPrecondition, "larger than 1,048,576 bytes")


@pytest.mark.parametrize("begins", [True, False])
def test_a_server_that_drips_is_left_when_the_time_is_over(
    web: WebServer, names: Names, authority: Authority, tmp_path: Path, begins: bool
) -> None:
    """A byte now and then keeps every read alive; the whole has its time, before and after the headers."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if begins:
            handler.send_response(200)
            handler.end_headers()
        try:
            for _ in range(600):
                handler.wfile.write(b"H")
                handler.wfile.flush()
                time.sleep(0.1)
        except OSError:
            return

    web.pages["/drip"] = drip
    brief = fetcher_of(web, names, authority, tmp_path, import_seconds=1.0)
    fails(brief, url(web, "/drip"), DeadlineExceeded, "took too long")


def test_a_server_that_is_not_there_is_worth_another_try(
    web: WebServer, names: Names, authority: Authority, tmp_path: Path
) -> None:
    (port,) = free_ports()
    fetcher = fetcher_of(web, names, authority, tmp_path, import_ports=str(port))
    fails(fetcher, f"https://data.example.test:{port}/rows", Unavailable, "ConnectError")


def test_plain_http_needs_a_setting_that_says_so(
    web: WebServer, names: Names, authority: Authority, tmp_path: Path
) -> None:
    with web_server() as plain:
        plain.pages["/rows.jsonl"] = page(ROWS)
        uri = f"http://data.example.test:{plain.port}/rows.jsonl"
        ports = f"{plain.port}"
        fails(fetcher_of(web, names, authority, tmp_path, import_ports=ports), uri, PermissionDenied, "unencrypted")
        allowed = fetcher_of(web, names, authority, tmp_path, import_ports=ports, import_plain_http=True)
        assert fetch(allowed, uri)[0] == ROWS


def test_nothing_of_a_failed_fetch_stays_on_the_disk(fetcher: Fetcher, web: WebServer, tmp_path: Path) -> None:
    web.pages["/cut"] = page(ROWS[:100], Content_Length=str(len(ROWS)))
    fails(fetcher, url(web, "/cut"), Unavailable, "cut")
    assert not list((tmp_path / "home" / "ingestion").iterdir())
