"""Answers belong to tenants."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Forward only: a database is taken back from its backup."""
    with op.batch_alter_table("answers") as answers:
        answers.add_column(sa.Column("tenant", sa.String(), nullable=False, server_default=""))
        answers.drop_constraint(op.f("pk_answers"), type_="primary")
        answers.create_primary_key(op.f("pk_answers"), ["request_id", "tenant"])
