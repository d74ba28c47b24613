"""Each episode of an alert keeps the headlines that were told about it.

Deploy: before the code. Follows 0003.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ALERT = sa.table(
    "alert", sa.column("id", sa.Uuid()), sa.column("column", sa.String()), sa.column("episodes", sa.JSON())
)


def upgrade() -> None:
    def told(episode: dict[str, Any], column: str) -> dict[str, Any]:
        headline = {
            "at": episode["told_at"], "window": episode["first_window"], "column": column, "value": None, "limit": None,
            "sentence": episode["sentence"], "severity": "warning", "columns": [column] if column else [],
        }  # fmt: skip
        return episode | {"headlines": [headline]}

    _rewrite(told)


def downgrade() -> None:
    _rewrite(lambda episode, _: {k: v for k, v in episode.items() if k != "headlines"})


def _rewrite(change: Any) -> None:
    db = op.get_bind()
    for found in db.execute(sa.select(_ALERT.c.id, _ALERT.c.column, _ALERT.c.episodes)).all():
        changed = [change(episode, found.column) for episode in found.episodes]
        if json.dumps(changed) != json.dumps(found.episodes):
            db.execute(_ALERT.update().where(_ALERT.c.id == found.id).values(episodes=changed))
