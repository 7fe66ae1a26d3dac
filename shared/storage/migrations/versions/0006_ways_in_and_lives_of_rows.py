"""Imports, sources that are followed, deletions, and what batches and dataset versions tell of their rows."""

import sqlalchemy as sa
from alembic import op

from shared.storage import types

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Forward only: a database is taken back from its backup. What rows there are is told by index segments now; those
    of batches that have none are made from their parts."""
    op.create_table(
        "imports",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("batch_key", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("header", types.Json, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("rows_per_second", sa.Double(), nullable=False),
        sa.Column("eta_seconds", sa.Double(), nullable=False),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", types.UtcDateTime(), nullable=True),
        sa.Column("is_gone", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("started_at", types.UtcDateTime(), nullable=True),
        sa.Column("finished_at", types.UtcDateTime(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index(op.f("ix_imports_pipeline_created_at"), "imports", ["pipeline", "created_at"])
    op.create_index(op.f("ix_imports_pipeline_batch_key"), "imports", ["pipeline", "batch_key"])
    op.create_index(op.f("ix_imports_state"), "imports", ["state"])
    op.create_table(
        "source_states",
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cursor", types.Json, nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("seen_at", types.UtcDateTime(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_expires_at", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("pipeline", "name", name=op.f("pk_source_states")),
    )
    op.create_table(
        "deletions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("digests", types.Json, nullable=False),
        sa.Column("sources", types.Json, nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("batches", types.Json, nullable=False),
        sa.Column("dataset_versions", types.Json, nullable=False),
        sa.Column("model_versions", types.Json, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_index(op.f("ix_deletions_pipeline"), "deletions", ["pipeline"])
    with op.batch_alter_table("batches") as batches:
        batches.add_column(sa.Column("near_duplicates", sa.Integer(), nullable=False, server_default="0"))
        batches.add_column(sa.Column("change", sa.BigInteger(), nullable=False, server_default="0"))
        batches.create_index(op.f("ix_batches_pipeline_change"), ["pipeline", "change"])
        batches.add_column(sa.Column("rules", types.Json, nullable=False, server_default="[]"))
        for column in ("index_uri", "index_digest", "journal_uri", "journal_digest", "licence", "format", "encoding"):
            batches.add_column(sa.Column(column, sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("dataset_versions") as versions:
        versions.add_column(sa.Column("merkle_root", sa.String(), nullable=False, server_default=""))
        versions.add_column(sa.Column("leaks", sa.Integer(), nullable=False, server_default="0"))
    op.drop_table("row_digests")
