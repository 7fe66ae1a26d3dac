"""The order of the queue, budgets, code revisions, and who is heard from."""

import sqlalchemy as sa
from alembic import op

from shared.storage import types

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Forward only: a database is taken back from its backup."""
    op.create_table(
        "training_workers",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("started_at", types.UtcDateTime(), nullable=False),
        sa.Column("heard_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "device", name=op.f("pk_training_workers")),
    )
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("code", sa.String(), nullable=False, server_default=""))
        jobs.add_column(sa.Column("tenant", sa.String(), nullable=False, server_default=""))
        jobs.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("budget", types.Json, nullable=True))
        jobs.add_column(sa.Column("due_at", types.UtcDateTime(), nullable=True))
        jobs.add_column(sa.Column("allow_revision", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("estimated_finish_at", types.UtcDateTime(), nullable=True))
        runs.add_column(sa.Column("seconds", sa.Double(), nullable=False, server_default="0"))
        runs.add_column(sa.Column("cost", sa.Double(), nullable=False, server_default="0"))
        runs.add_column(sa.Column("heard_at", types.UtcDateTime(), nullable=True))
        runs.add_column(sa.Column("revision", sa.String(), nullable=False, server_default=""))
        runs.add_column(sa.Column("resumed_revision", sa.String(), nullable=False, server_default=""))
        runs.create_index(op.f("ix_runs_finished_at"), ["finished_at"])
    with op.batch_alter_table("pipelines") as pipelines:
        pipelines.add_column(sa.Column("tenant", sa.String(), nullable=False, server_default=""))
