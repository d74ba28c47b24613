"""serious incidents

Deploy: before the code. Follows 0023.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "serious_incident",
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("aware_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reports", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("declared_by", sa.String(100), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind in ('death', 'widespread', 'other')", name=op.f("ck_serious_incident_kind")),
        sa.CheckConstraint("state in ('open', 'reported', 'closed')", name=op.f("ck_serious_incident_state")),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_serious_incident_incident_id_incident")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_serious_incident_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_serious_incident")),
        sa.UniqueConstraint("incident_id", name=op.f("uq_serious_incident_incident_id")),
    )
    op.create_index("ix_serious_incident_model_aware", "serious_incident", ["model_id", "aware_at"])


def downgrade() -> None:
    op.drop_table("serious_incident")
