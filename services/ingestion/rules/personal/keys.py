"""The secret that hashes of personal data are keyed with: one for the whole installation, so that joins stay possible."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from shared.config import Settings
from shared.errors import FailedPrecondition

SETTING = "FLYWHEEL_PERSONAL_DATA_KEY"
FILE = "personal-data.key"
LEAST_CHARACTERS = 16
KeySource = Callable[[], bytes]


def no_key() -> bytes:
    """Raises FailedPrecondition."""
    raise FailedPrecondition(f"the pipeline hashes personal data, and {SETTING} (or {SETTING}_FILE) is not set")


def key_source(settings: Settings) -> KeySource:
    """Gives the key when it is first needed.

    Without the setting an embedded platform makes one and keeps it in its folder. Elsewhere several machines would
    each make their own, so there it raises FailedPrecondition, as it does for a key that can be guessed.
    """

    def key() -> bytes:
        given = settings.personal_data_key
        if given and len(given) < LEAST_CHARACTERS:
            raise FailedPrecondition(f"{SETTING} has {len(given)} characters; at least {LEAST_CHARACTERS} are needed")
        if not given and settings.database_url:
            return no_key()
        return given.encode() if given else _kept(settings.home / FILE)

    return key


def _kept(path: Path) -> bytes:
    """The key of this folder; whoever comes first makes it, and nobody reads half of one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_bytes()
