"""indexes by which pages read the course of one number, and the alerts that are not resolved

Deploy: before the code. Follows 0036.
"""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_measurement_series", "measurement", ["model_id", "metric", "column", "segment", "to_ts"])
    op.create_index("ix_alert_state", "alert", ["state", "model_id"])


def downgrade() -> None:
    op.drop_index("ix_alert_state", table_name="alert")
    op.drop_index("ix_measurement_series", table_name="measurement")
