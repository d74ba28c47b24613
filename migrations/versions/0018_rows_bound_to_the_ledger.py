"""rows that people are shown are bound to the ledger

Deploy: before the code. Follows 0017. The first start of the code records the rows that are there as they are found.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_binding",
        sa.Column("entry", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_ledger_binding")),
    )


def downgrade() -> None:
    op.drop_table("ledger_binding")
