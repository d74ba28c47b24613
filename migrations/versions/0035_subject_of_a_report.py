"""a report may be about one run, version, incident or erasure

Deploy: before the code. Follows 0034.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("report", sa.Column("subject", sa.String(256), nullable=True))


def downgrade() -> None:
    op.drop_column("report", "subject")
