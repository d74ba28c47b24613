"""explanations get a lane of their own

Deploy: before the code. Follows 0007.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _allow(lanes: str) -> None:
    """Replace the rule that says which lanes there are."""
    with op.batch_alter_table("job") as batch_op:
        batch_op.drop_constraint(op.f("ck_job_lane"), type_="check")
        batch_op.create_check_constraint(op.f("ck_job_lane"), f"lane in ({lanes})")


def upgrade() -> None:
    _allow("'default', 'explain', 'train'")
    op.execute("update job set lane = 'explain' where name = 'retrain.explain' and state = 'queued'")


def downgrade() -> None:
    op.execute("update job set lane = 'train' where lane = 'explain'")
    _allow("'default', 'train'")
