"""What people do with versions: promote by hand, roll back, and set a version beside the champion."""

from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import IntegrityFailureError
from governance.access.roles import Caller
from governance.access.signers import signer, signer_line
from monitor.site import Site
from monitor.store import model as model_named
from monitor.tables import Model
from retrain import store
from retrain.errors import NoChampionError, NotChampionError, RunStateError, VersionStageError
from retrain.registry.predictions import Predictions, predictions_of
from retrain.registry.promotion import roll_back
from retrain.registry.stages import place
from retrain.runs.again import promote_again
from retrain.runs.approve import promote_or_judge_again
from retrain.tables import ModelVersion


def promote_by_hand(site: Site, db: Session, run_id: UUID, caller: Caller, reason: str) -> ModelVersion:
    """Promote the version of a run; where its gates must be judged again first, that is queued.

    Raises:
        RunStateError: the run has no version, is under way, or was rejected.
        What `promote_run` and `promote_again` raise.
    """
    run = store.run(db, run_id, lock=True)
    row = store.candidate(db, run)
    if run.state == "promoted" and row is not None and row.stage != "champion":  # it was champion, and is wanted again
        model = db.get_one(Model, run.model_id)
        promote_again(site, db, model.name, row.version, caller, reason, to_stage=run.to_stage, share=run.traffic_share)
    elif run.state in ("rejected", "failed") and row is not None:
        raise RunStateError(
            run_id, run.state, f"evaluated and not yet decided; promote {row.version} by its name to judge it again"
        )
    else:
        promote_or_judge_again(site, db, run, caller.name, reason)
    found = store.candidate(db, run)
    if found is None:
        raise IntegrityFailureError(f"run {run_id} has no version {run.candidate_version}")
    return found


def roll_back_listed(
    site: Site, model_name: str, caller: Caller, reason: str, *, only: str | None = None
) -> tuple[ModelVersion, Predictions]:
    """Roll back, and count what the version that leaves has answered.

    It is counted first, in no transaction, because reading events may take longer than one should.

    Args:
        only: the version that must be champion, if it matters.

    Raises:
        NotChampionError: another version is champion.
        What `roll_back` raises.
    """
    with site.database.read() as db:
        present = _champion(db, model_name)
    if only is not None and present.version != only:
        raise NotChampionError(present.version, only)
    made = predictions_of(site, model_name, present.version, present.promoted_at, site.clock.now())
    with site.database.write() as db:
        if (found := _champion(db, model_name).version) != present.version:
            raise NotChampionError(found, present.version)
        return roll_back(site, db, model_name, caller.name, reason, made), made


def _champion(db: Session, model_name: str) -> ModelVersion:
    """The champion's row. Its files may be gone: that is no reason to keep it.

    Raises:
        ModelNotFoundError, NoChampionError.
    """
    row = store.champion(db, model_named(db, model_name).id)
    if row is None:
        raise NoChampionError(model_name)
    return row


def set_stage(
    site: Site, db: Session, model_name: str, version: str, caller: Caller, stage: str, reason: str
) -> ModelVersion:
    """Give a version a stage in which it answers nobody: challenger, shadow or retired.

    Raises:
        VersionStageError: it is the champion, or was rejected; a rejected one is judged again by a promotion.
        IntegrityFailureError: its adapter has changed.
    """
    model = db.get_one(Model, model_named(db, model_name).id, with_for_update=True)
    row = store.version(db, model.id, version, model_name)
    if row.stage == "champion":
        words = f"{version} is the champion of {model_name}; promote another version, or roll back"
        raise VersionStageError(version, row.stage, words)
    if row.stage == "rejected":
        words = f"{version} was rejected; promote it by its name, which judges it again"
        raise VersionStageError(version, row.stage, words)
    if row.adapter is not None:
        site.artifacts.check_folder(row.adapter)
    by = {"by": signer_line(signer(db, caller.name, caller.prefix, caller.owner))}
    place(site, db, model, row, caller.name, stage=stage, share=None, reason=reason, more=by)
    return row
