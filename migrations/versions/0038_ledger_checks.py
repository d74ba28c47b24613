"""verifications of the ledger that people ask for

Deploy: before the code. Follows 0037.
"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_check",
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("entries", sa.BigInteger(), nullable=True),
        sa.Column("signed", sa.BigInteger(), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_check")),
    )
    op.create_index("ix_ledger_check_asked_at", "ledger_check", ["asked_at"])


def downgrade() -> None:
    op.drop_index("ix_ledger_check_asked_at", table_name="ledger_check")
    op.drop_table("ledger_check")
