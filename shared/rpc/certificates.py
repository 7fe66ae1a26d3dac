"""Certificates from PEM files, checked before they are used and read again when they change."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc

from shared.errors import InvalidArgument
from shared.rpc import files
from shared.rpc.security import SYSTEM, Security
from shared.telemetry.logs import get_logger

CERT, KEY, CA, CLIENT_CA = (f"FLYWHEEL_TLS_{name}" for name in ("CERT", "KEY", "CA", "CLIENT_CA"))
log = get_logger(__name__)


def check_pair(security: Security) -> tuple[bytes, bytes]:
    """The certificate chain and its key. Raises InvalidArgument when one is missing, does not fit or has expired."""
    if not security.certificate or not security.key:
        raise InvalidArgument(f"{CERT} and {KEY} belong together, and one of them is missing", field=CERT)
    chain, key = files.read(security.certificate, CERT), files.read(security.key, KEY)
    ends = expiry(chain, f"{CERT}={security.certificate!r}")
    if ends < datetime.now(UTC):
        raise InvalidArgument(
            f"{CERT}={security.certificate!r} expired at {ends:%Y-%m-%d %H:%M} UTC; put a new one in its place",
            field=CERT,
        )
    try:
        # a password is asked for at the terminal otherwise
        ssl.create_default_context().load_cert_chain(security.certificate, security.key, password=lambda: "")
    except ssl.SSLError as error:
        raise InvalidArgument(
            f"{KEY}={security.key!r} is not the unencrypted key of {CERT}={security.certificate!r} ({error.reason})",
            field=KEY,
        ) from None
    return chain, key


def check_authority(path: str, setting: str) -> bytes:
    """Certificates that are trusted. Raises InvalidArgument."""
    found = files.read(path, setting)
    try:
        ssl.create_default_context(cadata=found.decode())
    except (ssl.SSLError, ValueError):
        raise InvalidArgument(f"{setting}={path!r} holds no PEM certificate", field=setting) from None
    return found


def expiry(pem: bytes, name: str) -> datetime:
    """When the first certificate of a PEM file ends. Raises InvalidArgument with `name` when there is none."""
    begin, end = pem.find(b"-----BEGIN CERTIFICATE-----"), pem.find(b"-----END CERTIFICATE-----")
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[begin:end].decode() + "-----END CERTIFICATE-----")
        return _not_after(der)
    except (ValueError, IndexError):
        raise InvalidArgument(f"{name} holds no PEM certificate") from None


def expiries(security: Security) -> dict[str, datetime]:
    """By setting, when what its file holds ends. Raises InvalidArgument where a file can't work."""
    found = {}
    if security.certificate or security.key:
        chain, _ = check_pair(security)
        found[CERT] = expiry(chain, CERT)
    for path, setting in ((security.authority, CA), (security.client_authority, CLIENT_CA)):
        if path not in ("", SYSTEM):
            found[setting] = expiry(check_authority(path, setting), setting)
    return found


class ServerCertificates:
    """Answers handshakes with what the files hold now; with what they held before while they hold nonsense."""

    def __init__(self, security: Security) -> None:
        """Raises InvalidArgument naming the setting, the file and what is wrong with it."""
        self._security = security
        self._paths = (security.certificate, security.key, security.client_authority)
        self._stamp = files.stamp(*self._paths)
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._newer,  # type: ignore[arg-type]  # None keeps what is there
            require_client_authentication=bool(self._security.client_authority),
        )

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        now = files.stamp(*self._paths)
        if now == self._stamp:
            return None
        self._stamp = now
        try:
            found = self._read()
        except InvalidArgument as error:
            log.error("new certificates refused, the old ones stay", reason=error.message)
            return None
        log.info("certificates read again", certificate=self._security.certificate)
        return found

    def _read(self) -> grpc.ServerCertificateConfiguration:
        chain, key = check_pair(self._security)
        path = self._security.client_authority
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], check_authority(path, CLIENT_CA) if path else None
        )


def channel_credentials(security: Security) -> grpc.ChannelCredentials:
    """For a client. Raises InvalidArgument as above."""
    trusted = None
    if security.authority not in ("", SYSTEM):
        trusted = check_authority(security.authority, CA)
    chain, key = check_pair(security) if security.certificate else (None, None)
    return grpc.ssl_channel_credentials(trusted, key, chain)


def _not_after(der: bytes) -> datetime:
    """RFC 5280, 4.1: Certificate > tbsCertificate > [0] version?, serial, signature, issuer, validity > notAfter."""
    (_, certificate), *_ = _parts(der)
    (_, signed), *_ = _parts(certificate)
    fields = [part for part in _parts(signed) if part[0] != 0xA0]
    _, (tag, raw) = _parts(fields[3][1])
    text = raw.decode("ascii")
    if tag == 0x17:  # UTCTime has two digits of the year: 50 to 99 are 19xx
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in a row."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size]), at + size
        yield tag, der[at : at + length]
        at += length
