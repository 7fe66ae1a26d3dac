"""${message}."""

import sqlalchemy as sa
from alembic import op

from shared.storage import types

revision = "${up_revision}"
down_revision = ${f'"{down_revision}"' if down_revision else None}


def upgrade() -> None:
    """Forward only: a database is taken back from its backup."""
    ${upgrades if upgrades else "pass"}
