"""decisions that are explained together

Deploy: before the code. Follows 0026.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "explanation_batch",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("explained", sa.Integer(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("state in ('queued', 'running', 'done', 'failed')", name=op.f("ck_explanation_batch_state")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_explanation_batch_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_explanation_batch")),
    )


def downgrade() -> None:
    op.drop_table("explanation_batch")
