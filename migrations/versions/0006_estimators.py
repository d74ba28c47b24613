"""estimators are fitted again, in their new form

Deploy: before the code.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _fit_again()


def downgrade() -> None:
    _fit_again()


def _fit_again() -> None:
    """Each release reads its own form of an estimator only, and fits a missing one at the next evaluation."""
    op.execute("update baseline set estimator = null, estimator_labels = 0")
