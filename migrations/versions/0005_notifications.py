"""The outbox of messages, maintenance windows and deploys.

Deploy: before the code. Follows 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATES = ("waiting", "sending", "retrying", "held", "sent", "dead", "quiet")
SEVERITIES = ("info", "warning", "critical")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("thread", sa.String(length=100), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("follows", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=100), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(f"state in {STATES}", name=op.f("ck_outbox_state")),
        sa.CheckConstraint(f"severity in {SEVERITIES}", name=op.f("ck_outbox_severity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_channel_state", "outbox", ["channel", "state", "run_at"], unique=False)
    op.create_index("ix_outbox_thread", "outbox", ["thread", "channel"], unique=False)
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "uq_outbox_waiting", "outbox", ["channel", "thread"], unique=True, sqlite_where=waiting,
        postgresql_where=waiting,
    )  # fmt: skip
    op.create_table(
        "maintenance",
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("from_ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("ended_by", sa.String(length=100), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("from_ts < to_ts", name=op.f("ck_maintenance_order")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_maintenance_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
    )
    op.create_index("ix_maintenance_to_ts", "maintenance", ["to_ts"], unique=False)
    op.create_table(
        "deploy",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_deploy_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deploy")),
        sa.UniqueConstraint("model_id", "version", "at", name=op.f("uq_deploy_model_id_version_at")),
    )


def downgrade() -> None:
    op.drop_table("deploy")
    op.drop_index("ix_maintenance_to_ts", "maintenance")
    op.drop_table("maintenance")
    waiting = sa.text("state = 'waiting'")
    op.drop_index("uq_outbox_waiting", "outbox", sqlite_where=waiting, postgresql_where=waiting)
    op.drop_index("ix_outbox_thread", "outbox")
    op.drop_index("ix_outbox_channel_state", "outbox")
    op.drop_table("outbox")
