"""an index by which a page finds the ledger entries of one kind about one model

Deploy: before the code. Follows 0040.
"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_ledger_entry_subject_kind", "ledger_entry", ["subject", "kind", "index"])


def downgrade() -> None:
    op.drop_index("ix_ledger_entry_subject_kind", table_name="ledger_entry")
