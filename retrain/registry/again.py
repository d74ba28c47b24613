"""Sign champions again after the key of the ledger was rotated."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.canonical import canonical
from core.canonical import digest as digest_of
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from governance.ledger.read import ledger_entries
from governance.proof.note import sign_note
from governance.proof.vkey import NoteSigner
from monitor.tables import Model
from retrain.registry.stages import champion_document
from retrain.tables import ModelVersion

CROWNED: Final = ("version.promoted", "version.rolled_back")


def sign_champions_again(db: Session, key: NoteSigner, *, alone: bool, now: datetime) -> tuple[list[str], list[str]]:
    """Add the signature of another key to each champion's note, which says what it said before.

    Args:
        alone: whether earlier signatures are dropped, because their key is compromised.

    Returns:
        Names of the models, and of those whose champion is not what the ledger says was promoted: left as they are.
    """
    signed, left = list[str](), list[str]()
    query = select(ModelVersion, Model).join(Model, Model.id == ModelVersion.model_id)
    for row, model in db.execute(query.where(ModelVersion.stage == "champion").order_by(Model.name)):
        if row.signature is None:
            continue
        document = champion_document(model, row)
        text = canonical(document).decode() + "\n"
        crowned = [e["body"].get("document") for e in ledger_entries(db, CROWNED, f"model:{model.name}")]
        if crowned[-1:] != [digest_of(document)] or not row.signature.startswith(text + "\n"):
            left.append(model.name)
            continue
        fresh = sign_note(text, [key])
        row.signature = fresh if alone else row.signature + fresh.removeprefix(text + "\n")
        signed.append(model.name)
    if signed:
        body = {"models": signed, "key": key.vkey, "alone": alone}
        append_entry(db, kind="version.signed_again", actor=SYSTEM_ACTOR, subject="ledger", body=body, at=now)
    return signed, left
