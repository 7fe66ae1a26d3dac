"""What the operator lets imports reach. Nothing is allowed that no setting names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path, PurePosixPath

from services.ingestion.remote.addresses import Network
from services.ingestion.remote.uris import FileUri, S3Uri, Uri, WebUri, host_name
from shared.config import Settings
from shared.errors import InvalidArgument, PermissionDenied


@dataclass(frozen=True)
class Policy:
    """The settings `import_…`, read."""

    buckets: tuple[tuple[str, str], ...] = ()
    """Bucket and prefix."""
    folders: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    """Names; `*.name` is every name below one."""
    ports: frozenset[int] = frozenset({443})
    networks: tuple[Network, ...] = ()
    plain_http: bool = False
    max_bytes: int = 1 << 34
    seconds: float = 3600.0

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Raises InvalidArgument naming the setting that can't be."""
        return cls(
            buckets=tuple(_bucket(entry) for entry in _entries(settings.import_buckets)),
            folders=tuple(_folder(entry) for entry in _entries(settings.import_folders)),
            hosts=tuple(_host(entry) for entry in _entries(settings.import_hosts)),
            ports=frozenset(_port(entry) for entry in _entries(settings.import_ports)),
            networks=tuple(_network(entry) for entry in _entries(settings.import_networks)),
            plain_http=settings.import_plain_http,
            max_bytes=settings.import_max_bytes,
            seconds=settings.import_seconds,
        )

    def check(self, uri: Uri) -> None:
        """Raises PermissionDenied that says what is allowed, and which setting says so."""
        if isinstance(uri, S3Uri):
            self._check_bucket(uri)
        elif isinstance(uri, FileUri):
            self.root_of(uri)
        else:
            self._check_web(uri)

    def root_of(self, uri: FileUri) -> Path:
        """The allowed folder that a file lies in."""
        for folder in self.folders:
            if uri.path == PurePosixPath(folder) or PurePosixPath(folder) in uri.path.parents:
                return folder
        raise _denied(f"file {uri.path}", "FLYWHEEL_IMPORT_FOLDERS", map(str, self.folders))

    def _check_bucket(self, uri: S3Uri) -> None:
        if not any(uri.bucket == bucket and uri.key.startswith(prefix) for bucket, prefix in self.buckets):
            allowed = (f"{bucket}/{prefix}".rstrip("/") for bucket, prefix in self.buckets)
            raise _denied(f"s3://{uri.bucket}/{uri.key}", "FLYWHEEL_IMPORT_BUCKETS", allowed)

    def _check_web(self, uri: WebUri) -> None:
        if uri.scheme != "https" and not self.plain_http:
            raise _denied("an unencrypted http:// source", "FLYWHEEL_IMPORT_PLAIN_HTTP", ["https://"])
        if not any(_matches(uri.host, host) for host in self.hosts):
            raise _denied(f"host {uri.host}", "FLYWHEEL_IMPORT_HOSTS", self.hosts)
        if uri.port not in self.ports:
            raise _denied(f"port {uri.port}", "FLYWHEEL_IMPORT_PORTS", map(str, sorted(self.ports)))


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _denied(what: str, setting: str, allowed: Iterable[str]) -> PermissionDenied:
    listed = ", ".join(allowed) or "nothing"
    return PermissionDenied(f"{what} is not allowed here; {setting} allows: {listed}", field="uri", setting=setting)


def _entries(setting: str) -> Sequence[str]:
    return [entry.strip() for entry in setting.split(",") if entry.strip()]


def _bucket(entry: str) -> tuple[str, str]:
    bucket, _, prefix = entry.removeprefix("s3://").partition("/")
    return bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _folder(entry: str) -> Path:
    path = Path(entry)
    if not path.is_absolute():
        raise InvalidArgument(f"FLYWHEEL_IMPORT_FOLDERS={entry!r} must be absolute", field="FLYWHEEL_IMPORT_FOLDERS")
    return path


def _host(entry: str) -> str:
    name = entry.removeprefix("*.")
    return entry[: len(entry) - len(name)] + host_name(name, entry)


def _port(entry: str) -> int:
    if not (entry.isascii() and entry.isdigit() and 0 < int(entry) < 65536):
        raise InvalidArgument(f"FLYWHEEL_IMPORT_PORTS={entry!r} is no port", field="FLYWHEEL_IMPORT_PORTS")
    return int(entry)


def _network(entry: str) -> Network:
    try:
        return ip_network(entry)
    except ValueError as error:
        message = f"FLYWHEEL_IMPORT_NETWORKS={entry!r}: {error}; as in 10.1.0.0/16"
        raise InvalidArgument(message, field="FLYWHEEL_IMPORT_NETWORKS") from None
