"""the rows of each window by protected group

Deploy: before the code. Follows 0028. Windows that were recorded before have no counts, and no period says otherwise.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fairness_counts",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("labelled", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_fairness_counts_model_id_model")),
        sa.ForeignKeyConstraint(["window_id"], ["window.id"], name=op.f("fk_fairness_counts_window_id_window")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fairness_counts")),
        sa.UniqueConstraint("window_id", name=op.f("uq_fairness_counts_window_id")),
    )
    op.create_index(op.f("ix_fairness_counts_model_id"), "fairness_counts", ["model_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_fairness_counts_model_id"), "fairness_counts")
    op.drop_table("fairness_counts")
