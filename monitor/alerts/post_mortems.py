"""Post-mortems: what happened, what it cost, why, what was done, and what will change. Every version is kept.

The texts stand in the database, where they may name people; the ledger has a digest of each version.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import InvalidError
from governance.ledger.append import append_entry
from monitor.alerts import incidents, store
from monitor.alerts.subject import subject_of
from monitor.alerts.tables import PostMortem
from monitor.site import Site

MAX_CHARS: Final = 20_000  # of one part
WORDS: Final[Mapping[str, str]] = {
    "happened": "What happened", "impact": "Impact", "cause": "Cause", "done": "What was done",
    "will_change": "What will change",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PostMortemText:
    """The parts of a post-mortem; a part that nobody can say yet is empty, but not all of them."""

    happened: str = ""
    impact: str = ""
    cause: str = ""
    done: str = ""
    will_change: str = ""


def write(site: Site, db: Session, incident_id: UUID, actor: str, text: PostMortemText) -> PostMortem:
    """Write the first or the next version.

    Raises:
        IncidentNotFoundError: no incident has this id.
        InvalidError: all parts are empty, one is too long, or nothing differs from the version before.
    """
    incident = store.incident(db, incident_id, lock=True)
    parts = {name: str(value).strip() for name, value in asdict(text).items()}
    for name, value in parts.items():
        if len(value) > MAX_CHARS:
            raise InvalidError(
                f"{name} has {len(value):,} characters; write at most {MAX_CHARS:,}", field=name, value=value[:60]
            )
    if not any(parts.values()):
        raise InvalidError(f"all parts are empty; write at least one of {', '.join(parts)}", field="happened", value="")
    before = newest(db, [incident_id]).get(incident_id)
    if before is not None and parts == {name: getattr(before, name) for name in parts}:
        raise InvalidError(f"nothing differs from version {before.version}", field="happened", value="")
    now, version = site.clock.now(), 1 if before is None else before.version + 1
    row = PostMortem(
        incident_id=incident_id, version=version, **parts, author=actor, written_at=now, digest=digest(parts)
    )
    db.add(row)
    said = f"version {version}"
    incidents.note(db, incident, "post_mortem", at=now, actor=actor, text=said)
    append_entry(
        db, kind="incident.post_mortem", actor=actor, subject=subject_of(db, incident.model_id), at=now,
        body={"incident": incident.id, "version": version, "digest": row.digest},
    )  # fmt: skip
    return row


def versions(db: Session, incident_id: UUID) -> Sequence[PostMortem]:
    """Every version, the newest first."""
    query = select(PostMortem).where(PostMortem.incident_id == incident_id)
    return db.scalars(query.order_by(PostMortem.version.desc())).all()


def newest(db: Session, incident_ids: Collection[UUID]) -> dict[UUID, PostMortem]:
    """The newest version of each incident that has one."""
    last = (
        select(PostMortem.incident_id, func.max(PostMortem.version).label("version"))
        .where(PostMortem.incident_id.in_(incident_ids))
        .group_by(PostMortem.incident_id)
        .subquery()
    )
    query = select(PostMortem).join(
        last, (last.c.incident_id == PostMortem.incident_id) & (last.c.version == PostMortem.version)
    )
    return {row.incident_id: row for row in db.scalars(query)}


def document(row: PostMortem) -> dict[str, Any]:
    """A version as it goes into reports and incident files."""
    return {
        "version": row.version, **{f.name: getattr(row, f.name) for f in fields(PostMortemText)},
        "author": row.author, "written_at": row.written_at, "digest": row.digest,
    }  # fmt: skip
