"""Register artifacts that show rows in clear before they are written, so that an erasure finds each one.

A process may die after it wrote the file and before it recorded what the file is; the draft still names the file.
"""

from uuid import UUID

from sqlalchemy.orm import Session

from core.artifacts import content_digest
from core.errors import BusyError
from monitor.site import Site
from monitor.tables import ArtifactDraft


class DraftErasedError(BusyError):
    """An erasure deleted the artifact while it was being made; it can be made again from the remaining rows."""

    code = "draft_erased"


def begin(
    site: Site, content: bytes, model_id: UUID, *, event_id: str | None = None, alert_id: UUID | None = None
) -> ArtifactDraft:
    """Store bytes as an artifact about an event or an alert; `end` completes it."""
    draft = ArtifactDraft(model_id=model_id, artifact=content_digest(content), event_id=event_id, alert_id=alert_id)
    with site.database.write() as db:
        db.add(draft)
    site.artifacts.put(content)
    return draft


def end(db: Session, draft: ArtifactDraft) -> None:
    """Delete the draft, in the transaction that records its artifact.

    Raises:
        DraftErasedError: the artifact is gone.
    """
    stored = db.get(ArtifactDraft, draft.id, with_for_update=True)
    if stored is None:
        raise DraftErasedError("rows of the artifact were erased while it was being made", retry_after_s=1)
    db.delete(stored)


def replaced(db: Session, model_id: UUID, artifact: str, event_id: str) -> ArtifactDraft:
    """Register an artifact that another takes the place of; `discard` it once the transaction is over."""
    draft = ArtifactDraft(model_id=model_id, artifact=artifact, event_id=event_id)
    db.add(draft)
    return draft


def discard(site: Site, draft: ArtifactDraft) -> None:
    """Delete a replaced artifact, and then its draft: until then an erasure finds it."""
    site.artifacts.delete(draft.artifact)
    with site.database.write() as db:
        if (left := db.get(ArtifactDraft, draft.id)) is not None:
            db.delete(left)
