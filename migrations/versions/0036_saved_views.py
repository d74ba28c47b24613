"""saved views of events

Deploy: before the code. Follows 0035.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_view",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(120), nullable=False),
        sa.Column("kept_by", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("query", sa.String(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_event_view_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_view")),
        sa.UniqueConstraint("model_id", "owner", "name", name=op.f("uq_event_view_model_id_owner_name")),
    )


def downgrade() -> None:
    op.drop_table("event_view")
