"""Certificates for tests, made with openssl: an authority, and what it signs."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments: str, folder: Path) -> None:
    found = shutil.which("openssl") or pytest.skip("openssl is not installed")
    subprocess.run([found, *arguments], cwd=folder, check=True, capture_output=True)


@dataclass(frozen=True)
class Pair:
    certificate: str
    key: str


class Authority:
    """Signs certificates; `path` is its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        self.path = str(folder / f"{name}.pem")
        subject = ("-subj", f"/CN={name}", "-days", "10", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl("req", "-x509", *NEW_KEY, *subject, folder=folder)

    def sign(self, name: str, days: int = 10, names: str = NAMES) -> Pair:
        """A certificate for `names`; expired where `days` is negative. The same name again replaces the files."""
        folder, of = self._folder, ("-CA", f"{self._name}.pem", "-CAkey", f"{self._name}.key", "-CAcreateserial")
        request = ("-subj", f"/CN={name}", "-addext", names, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("req", *NEW_KEY, *request, folder=folder)
        signed = ("-days", str(days), "-copy_extensions", "copy", "-out", f"{name}.new")
        openssl("x509", "-req", "-in", f"{name}.csr", *of, *signed, folder=folder)
        (folder / f"{name}.new").rename(folder / f"{name}.pem")
        return Pair(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))
