"""links of incidents, and post-mortems

Deploy: before the code. Follows 0038.
"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "incident_link",
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("linked_by", sa.String(100), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.String(100), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind in ('run', 'deploy', 'incident')", name=op.f("ck_incident_link_kind")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_link_incident_id_incident")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_incident_link_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_link")),
        sa.UniqueConstraint("incident_id", "kind", "target", name=op.f("uq_incident_link_incident_id_kind_target")),
    )
    op.create_index("ix_incident_link_target", "incident_link", ["target"])
    op.create_table(
        "post_mortem",
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("happened", sa.String(), nullable=False),
        sa.Column("impact", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("done", sa.String(), nullable=False),
        sa.Column("will_change", sa.String(), nullable=False),
        sa.Column("author", sa.String(100), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_post_mortem_incident_id_incident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_mortem")),
        sa.UniqueConstraint("incident_id", "version", name=op.f("uq_post_mortem_incident_id_version")),
    )
    op.create_index("ix_incident_state_opened", "incident", ["state", "opened_at"])
    op.create_index("ix_alert_opened", "alert", ["opened_at"])


def downgrade() -> None:
    op.drop_index("ix_alert_opened", "alert")
    op.drop_index("ix_incident_state_opened", "incident")
    op.drop_table("post_mortem")
    op.drop_table("incident_link")
