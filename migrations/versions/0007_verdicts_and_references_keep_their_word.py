"""verdicts under a later spec stand beside those given, and references say what they leave out

Deploy: before the code. Windows of rows of existing references stay where they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("baseline", schema=None) as batch_op:
        batch_op.add_column(sa.Column("windows_seq", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("windows_ts", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("far_rows", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("moved", sa.JSON(), nullable=True))
    op.execute("update baseline set windows_seq = from_seq")
    with op.batch_alter_table("baseline", schema=None) as batch_op:
        batch_op.alter_column("far_rows", server_default=None)
    op.create_table(
        "later_verdict",
        sa.Column("window_id", sa.Uuid(), nullable=False),
        sa.Column("spec_revision", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("drift", sa.String(length=32), nullable=False),
        sa.Column("p", sa.Double(), nullable=True),
        sa.Column("alpha", sa.Double(), nullable=True),
        sa.Column("readings", sa.JSON(), nullable=False),
        sa.Column("judged_seq", sa.BigInteger(), nullable=False),
        sa.Column("next_outcome", sa.BigInteger(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("verdict in ('ok', 'alarm', 'unknown')", name=op.f("ck_later_verdict_verdict")),
        sa.ForeignKeyConstraint(["window_id"], ["window.id"], name=op.f("fk_later_verdict_window_id_window")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_later_verdict")),
        sa.UniqueConstraint("window_id", "spec_revision", name=op.f("uq_later_verdict_window_id_spec_revision")),
    )


def downgrade() -> None:
    op.drop_table("later_verdict")
    with op.batch_alter_table("baseline", schema=None) as batch_op:
        batch_op.drop_column("moved")
        batch_op.drop_column("far_rows")
        batch_op.drop_column("windows_ts")
        batch_op.drop_column("windows_seq")
