"""Incidents with their timeline, mutes, and the severity of alerts. An alert from before becomes an incident of its own.

Deploy: before the code. Follows 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATES = ("open", "acknowledged", "resolved")
SEVERITIES = ("info", "warning", "critical")
BEFORE = ("drift", "kpi", "fairness", "concept", "quality", "volume", "silence")
MONITORS = (*BEFORE, "estimate", "outcomes", "system")


def upgrade() -> None:
    op.create_table(
        "incident",
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("headline", sa.String(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=True),
        sa.Column("from_ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(f"state in {STATES}", name=op.f("ck_incident_state")),
        sa.CheckConstraint(f"severity in {SEVERITIES}", name=op.f("ck_incident_severity")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_incident_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    op.create_index("ix_incident_model_opened", "incident", ["model_id", "opened_at"], unique=False)
    op.create_table(
        "incident_note",
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_incident_note_alert_id_alert")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_note_incident_id_incident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_note")),
        sa.UniqueConstraint("incident_id", "number", name=op.f("uq_incident_note_incident_id_number")),
    )
    op.create_table(
        "mute",
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("monitor", sa.String(length=16), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("column", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("ended_by", sa.String(length=100), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_mute_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mute")),
    )
    _add_to_alert()
    _monitors("measurement", MONITORS)


def _add_to_alert() -> None:
    with op.batch_alter_table("alert") as batch_op:
        batch_op.alter_column("model_id", existing_type=sa.Uuid(), nullable=True)
        batch_op.add_column(sa.Column("incident_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("severity", sa.String(length=16), nullable=False, server_default="warning"))
        batch_op.add_column(sa.Column("held_back", sa.String(length=16), nullable=True))
    op.execute(
        "insert into incident (id, model_id, headline, severity, state, from_ts, to_ts, opened_at, resolved_at) "
        "select id, model_id, sentence, severity, state, opened_at, opened_at, opened_at, resolved_at from alert"
    )
    op.execute("update alert set incident_id = id")
    with op.batch_alter_table("alert") as batch_op:
        batch_op.alter_column("incident_id", existing_type=sa.Uuid(), nullable=False)
        batch_op.alter_column("severity", existing_type=sa.String(length=16), server_default=None)
        batch_op.create_foreign_key(op.f("fk_alert_incident_id_incident"), "incident", ["incident_id"], ["id"])
        batch_op.create_index("ix_alert_incident", ["incident_id"], unique=False)
        batch_op.create_check_constraint(op.f("ck_alert_severity"), f"severity in {SEVERITIES}")
    _monitors("alert", MONITORS)


def _monitors(table: str, names: tuple[str, ...]) -> None:
    with op.batch_alter_table(table) as batch_op:
        batch_op.drop_constraint(op.f(f"ck_{table}_monitor"), type_="check")
        batch_op.create_check_constraint(op.f(f"ck_{table}_monitor"), f"monitor in {names}")


def downgrade() -> None:
    op.execute("delete from incident_note")
    op.execute("delete from measurement where monitor in ('estimate', 'outcomes', 'system')")
    op.execute(
        "delete from alert_window where alert_id in "
        "(select id from alert where monitor in ('estimate', 'outcomes', 'system'))"
    )
    op.execute("delete from alert where monitor in ('estimate', 'outcomes', 'system')")
    _monitors("measurement", BEFORE)
    _monitors("alert", BEFORE)
    with op.batch_alter_table("alert") as batch_op:
        batch_op.drop_constraint(op.f("ck_alert_severity"), type_="check")
        batch_op.drop_constraint(op.f("fk_alert_incident_id_incident"), type_="foreignkey")
        batch_op.drop_index("ix_alert_incident")
        batch_op.drop_column("held_back")
        batch_op.drop_column("severity")
        batch_op.drop_column("incident_id")
        batch_op.alter_column("model_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_table("mute")
    op.drop_table("incident_note")
    op.drop_index("ix_incident_model_opened", "incident")
    op.drop_table("incident")
