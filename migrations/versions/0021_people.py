"""people, scopes of keys, failed sign-ins

Deploy: before the code. Follows 0020. The owners of keys become people when the service next starts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=True),
        sa.Column("email", sa.String(200), nullable=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("password", sa.String(200), nullable=True),
        sa.Column("totp", sa.String(200), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=True),
        sa.Column("recovery", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("temporary", sa.Boolean(), nullable=False),
        sa.Column("issuer", sa.String(200), nullable=True),
        sa.Column("subject", sa.String(255), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_person_issuer_subject")),
    )
    op.create_table(
        "sign_in_failure",
        sa.Column("subject", sa.String(80), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in_failure")),
    )
    for column in (
        sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("earlier_hash", sa.String(64), nullable=True),
        sa.Column("earlier_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("api_key", column)
    with op.batch_alter_table("page_session") as batch:
        batch.add_column(sa.Column("person", sa.String(64), nullable=True))
        batch.alter_column("prefix", existing_type=sa.String(16), nullable=True)
    op.create_index(op.f("ix_page_session_person"), "page_session", ["person"])


def downgrade() -> None:
    op.execute("delete from page_session where prefix is null")
    op.drop_index(op.f("ix_page_session_person"), "page_session")
    with op.batch_alter_table("page_session") as batch:
        batch.alter_column("prefix", existing_type=sa.String(16), nullable=False)
        batch.drop_column("person")
    for column in ("used_at", "earlier_until", "earlier_hash", "expires_at", "models"):
        op.drop_column("api_key", column)
    op.drop_table("sign_in_failure")
    op.drop_table("person")
