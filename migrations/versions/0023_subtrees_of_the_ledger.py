"""roots of complete subtrees of the ledger, from which proofs are made

Deploy: before the code, which writes them with the entries. Follows 0022.
"""

import sqlalchemy as sa
from alembic import op

from governance.proof import merkle

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
BITS = 8


def upgrade() -> None:
    table = op.create_table(
        "ledger_subtree",
        sa.Column("level", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("level", "index", name=op.f("pk_ledger_subtree")),
    )
    frontier, rows = merkle.Frontier(), list[dict[str, object]]()
    for (stored,) in op.get_bind().execute(sa.text("""select leaf from ledger_entry order by "index" """)):
        try:
            leaf = bytes.fromhex(stored)
        except (ValueError, TypeError):
            break  # a damaged log: what is missing here is computed when it is asked for
        if len(leaf) != merkle.HASH_BYTES:
            break
        size = frontier.size + 1
        if size % (1 << BITS) == 0:
            rows += [
                {"level": height // BITS, "index": (size >> height) - 1, "hash": node.hex()}
                for height, node in frontier.completing(leaf)
                if height % BITS == 0
            ]
        frontier.append(leaf)
    if rows:
        op.bulk_insert(table, rows)


def downgrade() -> None:
    op.drop_table("ledger_subtree")
