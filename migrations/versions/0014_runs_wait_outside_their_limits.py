"""a run outside its limits waits for approval, and what runs use is kept

Deploy: before the code. Follows 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("run") as batch:
        batch.add_column(sa.Column("outside", sa.JSON(), nullable=False, server_default="[]"))
        batch.add_column(sa.Column("waits_at", sa.String(32), nullable=True))
        batch.add_column(sa.Column("exceptions", sa.JSON(), nullable=False, server_default="[]"))
        batch.add_column(sa.Column("used", sa.JSON(), nullable=True))
    with op.batch_alter_table("run") as batch:
        for name in ("outside", "exceptions"):
            batch.alter_column(name, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("run") as batch:
        for name in ("used", "exceptions", "waits_at", "outside"):
            batch.drop_column(name)
