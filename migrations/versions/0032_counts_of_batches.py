"""counts of batches of explanations are as wide as all others

Deploy: before the code. Follows 0031.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

COUNTS = ("total", "explained", "withheld")


def upgrade() -> None:
    with op.batch_alter_table("explanation_batch") as table:
        for name in COUNTS:
            table.alter_column(name, existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("explanation_batch") as table:
        for name in COUNTS:
            table.alter_column(name, existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False)
