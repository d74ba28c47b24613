"""explanations of many events in blocks

Deploy: before the code. Follows 0032.
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "explanation_block",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("withheld", sa.BigInteger(), nullable=False),
        sa.Column("residual", sa.Double(), nullable=False),
        sa.Column("artifact", sa.String(80), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_explanation_block_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_explanation_block")),
    )
    op.create_index("ix_explanation_block_model_seq", "explanation_block", ["model_id", "version", "from_seq"])


def downgrade() -> None:
    op.drop_index("ix_explanation_block_model_seq", table_name="explanation_block")
    op.drop_table("explanation_block")
