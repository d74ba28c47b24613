"""keys have owners; versions have more stages; runs keep the rules they were judged by and what they are for

Deploy: before the code. Follows 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STAGES = "stage in ('candidate', 'champion', 'challenger', 'shadow', 'canary', 'retired', 'rejected')"
_BEFORE = "stage in ('candidate', 'champion', 'retired', 'rejected')"


def _stages(condition: str) -> None:
    with op.batch_alter_table("model_version") as batch_op:
        batch_op.drop_constraint(op.f("ck_model_version_stage"), type_="check")
        batch_op.create_check_constraint(op.f("ck_model_version_stage"), condition)


def upgrade() -> None:
    op.add_column("api_key", sa.Column("owner", sa.String(200), nullable=True))
    op.add_column("model_version", sa.Column("traffic_share", sa.Double(), nullable=True))
    _stages(_STAGES)
    op.add_column("run", sa.Column("purpose", sa.String(16), nullable=False, server_default="train"))
    op.add_column("run", sa.Column("to_stage", sa.String(16), nullable=False, server_default="champion"))
    op.add_column("run", sa.Column("traffic_share", sa.Double(), nullable=True))
    op.add_column("run", sa.Column("rules", sa.JSON(), nullable=True))


def downgrade() -> None:
    for name in ("rules", "traffic_share", "to_stage", "purpose"):
        op.drop_column("run", name)
    op.execute("update model_version set stage = 'retired' where stage in ('challenger', 'shadow', 'canary')")
    _stages(_BEFORE)
    op.drop_column("model_version", "traffic_share")
    op.drop_column("api_key", "owner")
