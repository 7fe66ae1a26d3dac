"""One file by https. Redirects are followed by hand, each checked like the first URI."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urljoin

import httpcore

from services.ingestion.remote.connecting import CONNECT_SECONDS, Backend
from services.ingestion.remote.places import Found
from services.ingestion.remote.policy import Policy
from services.ingestion.remote.resolving import Resolver, system_resolver
from services.ingestion.remote.uris import WebUri, file_name, parse_uri, shown
from shared.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FlywheelError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)

MOST_REDIRECTS = 5
MOVED = (301, 302, 303, 307, 308)
LATER = (408, 425, 429)
READ_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 300.0
HEADERS = ((b"User-Agent", b"flywheel"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"identity"))


class Web:
    """What a GET of one URI gives."""

    def __init__(
        self, uri: WebUri, policy: Policy, trusted: ssl.SSLContext, resolve: Resolver = system_resolver
    ) -> None:
        self._uri, self._policy, self._trusted, self._resolve = uri, policy, trusted, resolve

    def files(self) -> Iterator[Found]:
        """The file; its size and identity are known once it is opened."""
        yield Found(file_name(_text(self._uri)), None, "")

    @contextmanager
    def open(self, found: Found) -> Iterator["Answer"]:
        """Raises DeadlineExceeded when the whole takes too long, and what `Place` says."""
        uri = self._uri
        backend = Backend(self._resolve, self._policy.networks)
        with ExitStack() as held, _telling(uri, backend):
            held.enter_context(backend.within(self._policy.seconds))
            for _ in range(MOST_REDIRECTS + 1):
                response = held.enter_context(self._get(uri, backend))
                if response.status not in MOVED:
                    _check_status(response, uri)
                    yield Answer(response, found)
                    if backend.ended:  # a body without a length looks whole when it is cut
                        raise _too_slow(uri)
                    return
                uri = self._next(uri, response)
            raise FailedPrecondition(f"{shown(_text(self._uri))} redirects more than {MOST_REDIRECTS} times")

    @contextmanager
    def _get(self, uri: WebUri, backend: Backend) -> Iterator[httpcore.Response]:
        url = httpcore.URL(scheme=uri.scheme, host=uri.host, port=uri.port, target=uri.target)
        timeouts = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": CONNECT_SECONDS}
        with (
            httpcore.ConnectionPool(ssl_context=self._trusted, network_backend=backend) as pool,
            pool.stream("GET", url, headers=_headers(uri), extensions={"timeout": timeouts}) as got,
        ):
            yield got

    def _next(self, uri: WebUri, response: httpcore.Response) -> WebUri:
        """Where a redirect leads. Raises PermissionDenied or InvalidArgument where it must not."""
        location = _header(response, b"location")
        try:
            target = parse_uri(urljoin(_text(uri), location))
        except InvalidArgument as error:
            raise PermissionDenied(f"{shown(_text(uri))} redirects elsewhere: {error.message}", field="uri") from None
        if not isinstance(target, WebUri) or target.scheme != uri.scheme:
            raise PermissionDenied(f"{shown(_text(uri))} redirects to another scheme, {shown(location)}", field="uri")
        self._policy.check(target)
        return target


class Answer:
    """The body of an answer, as it was sent."""

    def __init__(self, response: httpcore.Response, found: Found) -> None:
        self._pieces, self._left = response.iter_stream(), b""
        size = _header(response, b"content-length")
        tag, changed = _header(response, b"etag"), _header(response, b"last-modified")
        strong = tag if not tag.startswith("W/") else ""
        self.found = replace(
            found, size=int(size) if size.isdigit() else None, identity=strong or _dated(changed, size)
        )

    def read(self, size: int) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
        data, self._left = self._left[:size], self._left[size:]
        return data


def _dated(changed: str, size: str) -> str:
    return f"{changed}-{size}" if changed and size else ""


def _text(uri: WebUri) -> str:
    return f"{uri.scheme}://{uri.authority}{uri.target}"


def _headers(uri: WebUri) -> list[tuple[bytes, bytes]]:
    return [(b"Host", uri.authority.encode()), *HEADERS]


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _check_status(response: httpcore.Response, uri: WebUri) -> None:
    if response.status == 200:
        return
    what = f"{shown(_text(uri))} answers {response.status}"
    if response.status in (404, 410):
        raise NotFound(what, field="uri")
    if response.status in (401, 403):
        raise PermissionDenied(what, field="uri")
    if response.status in LATER or response.status >= 500:
        wait = _header(response, b"retry-after")
        raise Unavailable(what, min(float(wait), LONGEST_WAIT_SECONDS) if wait.isdigit() else 5.0)
    raise FailedPrecondition(f"{what}; only 200 is an answer with rows", field="uri")


def _too_slow(uri: WebUri) -> DeadlineExceeded:
    return DeadlineExceeded(f"{shown(_text(uri))}: fetching it took too long (FLYWHEEL_IMPORT_SECONDS)", field="uri")


@contextmanager
def _telling(uri: WebUri, backend: Backend) -> Iterator[None]:
    """Turns what connections raise into our errors; a certificate that is not trusted is no passing trouble."""
    try:
        yield
    except FlywheelError:
        raise
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        what = f"{shown(_text(uri))}: {type(error).__name__}: {error}"
        if backend.ended:
            raise _too_slow(uri) from None
        if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
            raise PermissionDenied(f"{what}; its certificate is not trusted (FLYWHEEL_IMPORT_CA)") from None
        raise Unavailable(what, retry_seconds=5) from None
    except ssl.SSLError as error:
        raise Unavailable(f"{shown(_text(uri))}: {error}", retry_seconds=5) from None
