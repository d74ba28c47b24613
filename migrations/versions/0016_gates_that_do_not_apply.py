"""gates that do not apply, golden datasets

Deploy: before the code. Follows 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BEFORE = {
    "gate_result": ("verdict", "verdict in ('pass', 'fail', 'unknown')"),
    "dataset": ("role", "role in ('train', 'eval', 'holdout', 'reference')"),
}
_AFTER = {
    "gate_result": ("verdict", "verdict in ('pass', 'fail', 'unknown', 'not_applicable')"),
    "dataset": ("role", "role in ('train', 'eval', 'holdout', 'reference', 'golden')"),
}


def _check(rules: dict[str, tuple[str, str]]) -> None:
    for table, (column, rule) in rules.items():
        name = op.f(f"ck_{table}_{column}")
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_constraint(name, type_="check")
            batch_op.create_check_constraint(name, sa.text(rule))


def upgrade() -> None:
    _check(_AFTER)


def downgrade() -> None:
    op.execute("DELETE FROM gate_result WHERE verdict = 'not_applicable'")
    op.execute("DELETE FROM dataset WHERE role = 'golden'")
    _check(_BEFORE)
