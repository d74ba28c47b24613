"""log records hold the texts of spans

Deploy: before the code. Follows 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "span_text",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.String(100), nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("written", sa.JSON(), nullable=False),
        sa.Column("times", sa.JSON(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_span_text_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_span_text")),
        sa.UniqueConstraint("model_id", "event_id", name=op.f("uq_span_text_model_id_event_id")),
    )
    op.create_index("ix_span_text_received", "span_text", ["received_at"])
    op.create_table(
        "lost_text",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_lost_text_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lost_text")),
        sa.UniqueConstraint("model_id", name=op.f("uq_lost_text_model_id")),
    )


def downgrade() -> None:
    op.drop_table("lost_text")
    op.drop_table("span_text")
