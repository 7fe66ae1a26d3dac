"""How a process proves who it is, and whom it lets in."""

from dataclasses import dataclass, field
from typing import Self

from shared.config import Settings

SYSTEM = "system"
"""As an authority: the certificates that the operating system trusts."""


@dataclass(frozen=True)
class Security:
    """Certificates are paths of PEM files. With nothing set, everybody is let in, in clear text."""

    certificate: str = ""
    key: str = ""
    authority: str = ""
    """Trusted by our clients; the system's when empty and a certificate is set."""
    client_authority: str = ""
    """Trusted by our server, which then wants a certificate from every client."""
    api_key: str = field(default="", repr=False)
    api_keys: str = field(default="", repr=False)
    api_keys_file: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            certificate=settings.tls_cert,
            key=settings.tls_key,
            authority=settings.tls_ca,
            client_authority=settings.tls_client_ca,
            api_key=settings.api_key,
            api_keys=settings.api_keys,
            api_keys_file=settings.api_keys_file,
        )

    @property
    def serves_tls(self) -> bool:
        return bool(self.certificate or self.key or self.client_authority)

    @property
    def calls_with_tls(self) -> bool:
        """A process that serves TLS never calls in clear text: the others of its platform serve TLS too."""
        return bool(self.authority or self.certificate)

    @property
    def wants_keys(self) -> bool:
        return bool(self.api_keys or self.api_keys_file)


OPEN = Security()
