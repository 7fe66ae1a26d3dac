"""Traffic shares and shadows."""

import sqlalchemy as sa
from alembic import op

from shared.storage import types

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forward only: a database is taken back from its backup."""
    op.create_table(
        "traffic",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("shares", types.Json, nullable=False),
        sa.Column("shadows", types.Json, nullable=False),
        sa.Column("set_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_traffic")),
    )
