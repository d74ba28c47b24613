"""reasons of decisions, attributions of a reference, and the monitor of attributions

Deploy: before the code. Follows 0029.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

BEFORE = ("drift", "kpi", "fairness", "concept", "quality", "volume", "silence", "estimate", "outcomes", "system")
WATCHED = ("measurement", "alert")


def upgrade() -> None:
    op.create_table(
        "decision_reasons",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("spec_revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("table_version", sa.String(64), nullable=False),
        sa.Column("artifact", sa.String(80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("state in ('issued', 'none', 'withheld')", name=op.f("ck_decision_reasons_state")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_decision_reasons_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision_reasons")),
        sa.UniqueConstraint(
            "model_id", "event_id", "spec_revision", name=op.f("uq_decision_reasons_model_id_event_id_spec_revision")
        ),
    )
    op.create_table(
        "attribution_reference",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(80), nullable=False),
        sa.Column("population", sa.String(100), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("artifact", sa.String(80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_attribution_reference_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attribution_reference")),
        sa.UniqueConstraint("model_id", "key", name=op.f("uq_attribution_reference_model_id_key")),
    )
    for table in WATCHED:
        _monitors(table, (*BEFORE, "attribution"))


def _monitors(table: str, names: tuple[str, ...]) -> None:
    with op.batch_alter_table(table) as batch_op:
        batch_op.drop_constraint(op.f(f"ck_{table}_monitor"), type_="check")
        batch_op.create_check_constraint(op.f(f"ck_{table}_monitor"), f"monitor in {names}")


def downgrade() -> None:
    op.execute("delete from measurement where monitor = 'attribution'")
    op.execute("delete from alert_window where alert_id in (select id from alert where monitor = 'attribution')")
    op.execute("delete from incident_note where alert_id in (select id from alert where monitor = 'attribution')")
    op.execute("delete from alert where monitor = 'attribution'")
    for table in WATCHED:
        _monitors(table, BEFORE)
    op.drop_table("attribution_reference")
    op.drop_table("decision_reasons")
