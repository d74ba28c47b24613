"""where a fairness disparity that alarmed comes from

Deploy: before the code. Follows 0025.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fairness_cause",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("column", sa.String(128), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_fairness_cause_model_id_model")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_fairness_cause_alert_id_alert")),
        sa.ForeignKeyConstraint(["window_id"], ["window.id"], name=op.f("fk_fairness_cause_window_id_window")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fairness_cause")),
        sa.UniqueConstraint(
            "alert_id", "window_id", "column", name=op.f("uq_fairness_cause_alert_id_window_id_column")
        ),
    )


def downgrade() -> None:
    op.drop_table("fairness_cause")
