"""declared provenance

Deploy: before the code. Follows 0018.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provenance_declaration",
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("content", sa.String(80), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind in ('dataset', 'base_model')", name=op.f("ck_provenance_declaration_kind")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_provenance_declaration_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provenance_declaration")),
    )
    op.create_index("ix_provenance_declaration_model_entry", "provenance_declaration", ["model_id", "entry"])


def downgrade() -> None:
    op.drop_table("provenance_declaration")
