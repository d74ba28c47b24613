"""what drove an alert

Deploy: before the code. Follows 0027.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

STATES = "state in ('found', 'nothing', 'failed')"


def upgrade() -> None:
    op.create_table(
        "alert_finding",
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(STATES, name=op.f("ck_alert_finding_state")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_alert_finding_alert_id_alert")),
        sa.ForeignKeyConstraint(["window_id"], ["window.id"], name=op.f("fk_alert_finding_window_id_window")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_finding")),
        sa.UniqueConstraint("alert_id", "window_id", name=op.f("uq_alert_finding_alert_id_window_id")),
    )


def downgrade() -> None:
    op.drop_table("alert_finding")
