"""outlines of traces

Deploy: before the code. Follows 0039.
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trace_part",
        sa.Column("service", sa.String(300), nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spans", sa.JSON(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trace_part")),
    )
    op.create_index("ix_trace_part_trace_id", "trace_part", ["trace_id"])
    op.create_index("ix_trace_part_received_at", "trace_part", ["received_at"])


def downgrade() -> None:
    op.drop_index("ix_trace_part_received_at", table_name="trace_part")
    op.drop_index("ix_trace_part_trace_id", table_name="trace_part")
    op.drop_table("trace_part")
