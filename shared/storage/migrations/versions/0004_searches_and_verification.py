"""Searches, jobs that repeat a version or try a setting, and what decided a version's bytes."""

import sqlalchemy as sa
from alembic import op

from shared.storage import types

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Forward only: a database is taken back from its backup."""
    op.create_table(
        "searches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("dataset_version", sa.Integer(), nullable=False),
        sa.Column("spec", types.Json, nullable=False),
        sa.Column("plan", types.Json, nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("pruned", types.Json, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("best", sa.String(), nullable=True),
        sa.Column("job", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("finished_at", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_searches")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_searches_idempotency_key")),
    )
    op.create_index(op.f("ix_searches_state"), "searches", ["state"])
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("sort", sa.String(), nullable=False, server_default="train"))
        jobs.add_column(sa.Column("clone_of", sa.String(), nullable=True))
        jobs.add_column(sa.Column("verifies", sa.Integer(), nullable=True))
        jobs.add_column(sa.Column("search", sa.String(), nullable=True))
        jobs.add_column(sa.Column("trial", sa.Integer(), nullable=True))
        jobs.add_column(sa.Column("outcome", types.Json, nullable=False, server_default="{}"))
        jobs.create_index(op.f("ix_jobs_search"), ["search"])
    with op.batch_alter_table("model_versions") as versions:
        versions.add_column(sa.Column("conditions", types.Json, nullable=False, server_default="{}"))
        versions.add_column(sa.Column("started_from", sa.Integer(), nullable=True))
