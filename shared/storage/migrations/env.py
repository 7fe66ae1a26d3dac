"""Alembic's environment: `shared.storage.migrate` gives it an open connection."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context

from shared.storage import types
from shared.storage.tables import Base


def render(kind: str, item: object, autogen_context: object) -> str | Literal[False]:
    """How a new revision spells our column types."""
    if kind != "type":
        return False
    if isinstance(item, types.UtcDateTime):
        return "types.UtcDateTime()"
    if isinstance(item, sa.JSON):
        return "types.Json"
    if isinstance(item, sa.BigInteger):
        return "types.BigId"
    return False


def run() -> None:
    """Runs the revisions on the connection that the caller opened, in one transaction."""
    connection: Any = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=render,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
