"""API keys that a server lets in, from a YAML file that may change while it runs."""

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from shared.errors import InvalidArgument
from shared.rpc import files
from shared.rpc.callers import Caller, Role
from shared.rpc.quotas import Allowance, Quota
from shared.rpc.security import Security
from shared.telemetry.logs import get_logger

LOOK_SECONDS = 1.0
"""Between two looks at the file."""
LEAST_CHARACTERS = 16
log = get_logger(__name__)


class KeyEntry(BaseModel):
    """One key; `key_sha256` is the SHA-256 of the key in hex, so that the file holds no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str | None = Field(None, min_length=LEAST_CHARACTERS)
    key_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    tenant: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    roles: frozenset[Role] = Field(frozenset({Role.CALL}), min_length=1)
    models: frozenset[str] | None = None
    requests_per_second: float | None = Field(None, gt=0, allow_inf_nan=False)
    burst: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    concurrent: int | None = Field(None, ge=1)
    priority_max: int = Field(100, ge=-100, le=100)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.key is None) == (self.key_sha256 is None):
            raise ValueError("give one of key and key_sha256")
        if self.models is not None and Role.OPERATE in self.roles:
            raise ValueError("an operator acts on every model; leave models or the role operate out")
        if self.burst is not None and self.requests_per_second is None:
            raise ValueError("burst needs requests_per_second")
        return self

    @property
    def digest(self) -> bytes:
        return _digest(self.key) if self.key is not None else bytes.fromhex(self.key_sha256 or "")

    @property
    def allowance(self) -> Allowance:
        return Allowance(self.requests_per_second, self.burst, self.tokens_per_minute, self.concurrent)


_ENTRIES = TypeAdapter(list[KeyEntry])


def parse_keys(text: str, name: str) -> list[KeyEntry]:
    """Raises InvalidArgument with `name`, the position and the field; never with a key."""
    try:
        entries = _ENTRIES.validate_python(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidArgument(f"{name} is not YAML{f', line {mark.line + 1}' if mark else ''}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidArgument(f"{name}: {f'{place}: ' if place else ''}{first['msg']}") from None
    _check_together(entries, name)
    return entries


class KeyRing:
    """Finds the caller of a key. Thread-safe; the file is read again within a second of its change."""

    def __init__(self, security: Security) -> None:
        """Raises InvalidArgument naming the setting and the mistake."""
        self._inline, self._path = security.api_keys, security.api_keys_file
        self._callers: dict[bytes, Caller] = {}
        self._quotas: dict[str, Quota] = {}
        self._stamp = files.stamp(self._path)
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._reading = threading.Lock()
        self._take(self._read())

    @property
    def size(self) -> int:
        return len(self._callers)

    def find(self, key: str) -> Caller | None:
        """By the key's SHA-256: how long the search takes tells about digests only, and no key can be made of those."""
        self._look()
        return self._callers.get(_digest(key))

    def _look(self) -> None:
        """Reads a changed file in a thread of its own: calls do not wait for it."""
        now = time.monotonic()
        if not self._path or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        seen = files.stamp(self._path)
        if seen != self._stamp and self._reading.acquire(blocking=False):
            self._stamp = seen
            threading.Thread(target=self._read_again, name="api-keys", daemon=True).start()

    def _read_again(self) -> None:
        try:
            self._take(self._read())
            log.info("API keys read again", keys=len(self._callers))
        except InvalidArgument as error:
            log.error("new API keys refused, the old ones stay", reason=error.message)
        finally:
            self._reading.release()

    def _read(self) -> list[KeyEntry]:
        if not self._path:
            return parse_keys(self._inline, "FLYWHEEL_API_KEYS")
        name = f"FLYWHEEL_API_KEYS_FILE={self._path!r}"
        try:
            text = files.read(self._path, "FLYWHEEL_API_KEYS_FILE").decode()
        except UnicodeDecodeError:
            raise InvalidArgument(f"{name} is not text in UTF-8") from None
        return parse_keys(text, name)

    def _take(self, entries: Sequence[KeyEntry]) -> None:
        quotas = dict(self._quotas)
        for entry in entries:
            quota = quotas.setdefault(entry.tenant, Quota(entry.tenant, entry.allowance))
            if quota.allowance != entry.allowance:
                quota.adopt(entry.allowance)
        self._quotas = quotas
        self._callers = {entry.digest: _caller(entry, quotas[entry.tenant]) for entry in entries}


def _check_together(entries: Sequence[KeyEntry], name: str) -> None:
    digests: set[bytes] = set()
    allowances: dict[str, Allowance] = {}
    for position, entry in enumerate(entries):
        if entry.digest in digests:
            raise InvalidArgument(f"{name}: {position}: the key is there twice")
        digests.add(entry.digest)
        if allowances.setdefault(entry.tenant, entry.allowance) != entry.allowance:
            raise InvalidArgument(f"{name}: {position}: the keys of tenant {entry.tenant!r} differ in their quotas")


def _caller(entry: KeyEntry, quota: Quota) -> Caller:
    return Caller(entry.tenant, entry.roles, entry.models, entry.priority_max, quota)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
