"""What a ledger entry about an alert or an incident is about."""

from uuid import UUID

from sqlalchemy.orm import Session

from monitor.tables import Model


def subject_of(db: Session, model_id: UUID | None) -> str:
    return "system" if model_id is None else f"model:{db.get_one(Model, model_id).name}"
