"""triggers refuse to change or delete what the ledger has written

Deploy: before the code. Follows 0019.
"""

from alembic import op

from governance.ledger import guard

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    guard.install(op.get_bind())


def downgrade() -> None:
    guard.remove(op.get_bind())
