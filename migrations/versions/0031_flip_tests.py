"""flip tests of a version: answers to inputs with a term or a value swapped

Deploy: before the code. Follows 0030.
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fairness_flip",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_fairness_flip_model_id_model")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_fairness_flip_alert_id_alert")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fairness_flip")),
    )
    op.create_index("ix_fairness_flip_model_at", "fairness_flip", ["model_id", "at"])


def downgrade() -> None:
    op.drop_index("ix_fairness_flip_model_at", table_name="fairness_flip")
    op.drop_table("fairness_flip")
