"""a run names the key that asked for it, also where the policy then decided

Deploy: before the code. Follows 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("started_by", sa.String(100), nullable=True))


def downgrade() -> None:
    op.drop_column("run", "started_by")
