"""schedules of reports; the time zone, recipients and schedule of a report

Deploy: before the code. Follows 0033.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "report_schedule",
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.String(200), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("every", sa.String(16), nullable=False),
        sa.Column("cron", sa.String(200), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("regimes", sa.JSON(), nullable=False),
        sa.Column("deliver_to", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_due", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(100), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("every in ('month', 'quarter', 'cron')", name=op.f("ck_report_schedule_every")),
        sa.CheckConstraint("(model_id is null) <> (owner is null)", name=op.f("ck_report_schedule_model_or_owner")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_report_schedule_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_schedule")),
    )
    op.create_index("ix_report_schedule_ended_at", "report_schedule", ["ended_at"])
    for column in (
        sa.Column("zone", sa.String(64), nullable=True),
        sa.Column("deliver_to", sa.JSON(), nullable=True),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("missed", sa.BigInteger(), nullable=True),
    ):
        op.add_column("report", column)


def downgrade() -> None:
    for column in ("missed", "due_at", "schedule_id", "deliver_to", "zone"):
        op.drop_column("report", column)
    op.drop_index("ix_report_schedule_ended_at", table_name="report_schedule")
    op.drop_table("report_schedule")
