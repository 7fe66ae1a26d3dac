"""URIs that rows may come from: what they mean, and how they are shown to people."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from shared.errors import InvalidArgument

MAX_LENGTH = 2048
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
ALLOWED = "s3://bucket/key, s3://bucket/prefix/, https://host/path, file:///folder/file"
DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class S3Uri:
    """An object, or every object under a prefix that ends in `/` (or is empty)."""

    bucket: str
    key: str

    @property
    def is_prefix(self) -> bool:
        return not self.key or self.key.endswith("/")


@dataclass(frozen=True)
class FileUri:
    """A file, or with `is_folder` every file below a folder, on the machine of the service."""

    path: PurePosixPath
    is_folder: bool


@dataclass(frozen=True)
class WebUri:
    """What one GET fetches. `host` is lower-case ASCII, or an address in its usual form; `target` begins with `/`."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """For the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


Uri = S3Uri | FileUri | WebUri


def parse_uri(text: str) -> Uri:
    """Raises InvalidArgument that says what is taken."""
    if not text or len(text) > MAX_LENGTH or not text.isprintable() or text != text.strip():
        raise _refused("uri", f"must have 1 to {MAX_LENGTH} printable characters")
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme == "s3":
        return _s3(text)
    if scheme == "file":
        return _file(text)
    if scheme in DEFAULT_PORTS:
        return _web(text, scheme)
    raise _refused(shown(text), "its scheme is not taken")


def shown(uri: str) -> str:
    """The URI without what may be secret: user, password, and the values of a signed query."""
    head, mark, rest = uri.partition("://")
    if not mark or head.lower() == "s3":
        return uri
    authority, slash, path = rest.partition("/")
    query = "?…" if "?" in path else ""
    return f"{head}://{authority.rpartition('@')[2].partition('?')[0]}{slash}{re.split('[?#]', path)[0]}{query}"


def file_name(uri: str) -> str:
    """Last part of the path, which tells of the format."""
    path = uri if uri.startswith("s3://") else urlsplit(uri).path
    return PurePosixPath(path).name


def _s3(text: str) -> S3Uri:
    bucket, _, key = text[len("s3://") :].partition("/")
    if not BUCKET.fullmatch(bucket):
        raise _refused(text, "no bucket has such a name")
    if len(key.encode(errors="replace")) > 1024:
        raise _refused(text, "a key has at most 1024 bytes")
    return S3Uri(bucket, key)


def _file(text: str) -> FileUri:
    rest = text[len("file://") :]
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise _refused(
            text, "it must name an absolute path of the service's own machine, as in file:///data/rows.jsonl"
        )
    if "?" in path or "#" in path:
        raise _refused(text, "a file's path has no query; write ? as %3F and # as %23")
    path = unquote(path)
    pure = PurePosixPath("/" + path)
    if "\0" in path or ".." in pure.parts:
        raise _refused(text, "its path must not hold .. or NUL")
    return FileUri(pure, is_folder=not path or path.endswith("/"))


def _web(text: str, scheme: str) -> WebUri:
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS[scheme]
        given = parts.hostname or ""
    except ValueError as error:
        raise _refused(shown(text), str(error)) from None
    if "@" in parts.netloc:
        raise _refused(shown(text), "user and password don't belong into a URI")
    if "\\" in text:
        raise _refused(shown(text), "it has a backslash")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or " " in target:
        raise _refused(shown(text), "path and query must be percent-encoded")
    return WebUri(scheme, host_name(given, shown(text)), port, target)


def host_name(host: str, uri: str) -> str:
    """The host in the form that it is compared in. Raises InvalidArgument for other ways to write an address."""
    address = literal_address(host)
    if address is not None and "%" not in host:  # a zone means this machine's own links
        return str(address)
    try:
        name = host.rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        raise _refused(uri, "its host is no name") from None
    if not HOST.fullmatch(name):
        raise _refused(uri, "its host is no name")
    if NUMBER.fullmatch(name.rpartition(".")[2]):
        raise _refused(uri, "an address is written as four decimal numbers, as in 203.0.113.7")
    return name


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(uri: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"uri={uri!r}: {why}; rows come from {ALLOWED}", field="uri")
