"""what considerations of a policy remember, and the keys of requests

Deploy: before the code. Follows 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_state",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("held", sa.JSON(), nullable=False),
        sa.Column("ticks", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_policy_state_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_state")),
        sa.UniqueConstraint("model_id", name=op.f("uq_policy_state_model_id")),
    )
    op.add_column("trigger_decision", sa.Column("request_key", sa.String(255), nullable=True))
    op.add_column("trigger_decision", sa.Column("request_digest", sa.String(80), nullable=True))
    op.create_index("uq_trigger_decision_request", "trigger_decision", ["model_id", "request_key"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_trigger_decision_request", "trigger_decision")
    op.drop_column("trigger_decision", "request_digest")
    op.drop_column("trigger_decision", "request_key")
    op.drop_table("policy_state")
