"""versions have names of up to 256 characters

Deploy: before the code. Follows 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = ("profile", "explanation", "deploy")


def _resize(before: int, after: int) -> None:
    for table in _TABLES:
        with op.batch_alter_table(table) as batch_op:
            batch_op.alter_column(
                "version", existing_type=sa.String(before), type_=sa.String(after), existing_nullable=False
            )


def upgrade() -> None:
    _resize(64, 256)


def downgrade() -> None:
    _resize(256, 64)
