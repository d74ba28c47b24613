"""automatic windows and references

Deploy: before the code. A reference keeps the window lengths that `auto` stands for, and which rule judges by it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("baseline", schema=None) as batch_op:
        batch_op.add_column(sa.Column("windows", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("rows_per_day", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("rule", sa.String(length=8), nullable=True))
        batch_op.add_column(sa.Column("begins_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("steady_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("left_out", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("baseline", schema=None) as batch_op:
        batch_op.alter_column("left_out", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("baseline", schema=None) as batch_op:
        for column in ("left_out", "steady_at", "ends_at", "begins_at", "rule", "rows_per_day", "windows"):
            batch_op.drop_column(column)
