"""spans are counted by what became of them

Deploy: before the code. Follows 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "span_count",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.String(300), nullable=False),
        sa.Column("result", sa.String(32), nullable=False),
        sa.Column("spans", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_span_count")),
        sa.UniqueConstraint("service", "result", name=op.f("uq_span_count_service_result")),
    )


def downgrade() -> None:
    op.drop_table("span_count")
