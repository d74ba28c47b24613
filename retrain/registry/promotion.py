"""Promote a candidate once everything is checked again; roll back to the champion before."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from governance.access.signers import signer, signer_line
from monitor import service as monitor
from monitor.site import Site
from monitor.store import model as model_named
from monitor.tables import Model
from retrain import store
from retrain.envelope import facts_of
from retrain.errors import (
    ChampionMovedError,
    EnvelopeError,
    NoChampionError,
    NoEarlierVersionError,
    NotGatedError,
    RulesChangedError,
    RunStateError,
)
from retrain.provenance.rules import check, material_of
from retrain.registry.predictions import Predictions
from retrain.registry.stages import crown, place
from retrain.registry.standing import exceptions_of, outside, standing_of
from retrain.tables import ModelVersion
from retrain.train.counts import RowCounts


def promote_run(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> ModelVersion:
    """Give a run's candidate the stage the run is for, which is champion unless a person asked for another.

    Gates, approvals, envelope, digests and the champion of the comparison are all checked again here, by the rules
    that the run started under and by those in force now.

    Raises:
        RulesChangedError: the rules in force are not those that the gates were judged under; judge them again.
        NotGatedError, RunStateError, ChampionMovedError, EnvelopeError: the run may not be promoted.
        MaterialRefusedError: licence, consent or expiry of what it was made from forbids it.
        IntegrityFailureError: the stored adapter has changed.
    """
    run = store.run(db, run_id, lock=True)
    model = db.get_one(Model, run.model_id, with_for_update=True)
    row = store.candidate(db, run)
    if run.state not in ("evaluating", "awaiting_approval") or row is None or row.stage == "champion":
        raise RunStateError(run_id, run.state, "evaluated and not yet promoted or rejected")
    found = standing_of(db, run, site.clock.now())
    if blocked := found.rules.blocked():
        raise NotGatedError(row.version, blocked)
    present = store.champion(db, model.id)
    if present is None or present.version != run.champion_version:
        raise ChampionMovedError(run_id, run.champion_version, present.version if present else "none")
    assert row.run_id is not None  # a candidate was trained
    assert row.adapter is not None
    trained = store.run(db, row.run_id)
    facts = facts_of(trained, store.run_datasets(db, trained.id)["train"])
    if run.purpose == "promote":  # judged on other rows than its training run was
        counts = (run.evaluation or {}).get("counts", {})
        facts = replace(facts, cut={name: RowCounts(**found) for name, found in counts.items()})
    if breached := outside(db, trained, found.rules, facts, exceptions_of(db, run)):
        raise EnvelopeError(breached)
    spec = store.spec_at(db, model.id, model.revision)  # licence and consent as they are declared now
    material = material_of(db, model, spec, base_digest=row.base_digest, run=trained)
    check(material, [s.envelope for s in found.rules.sets], site.clock.now())
    if found.stale:
        raise RulesChangedError(run_id, model.revision)
    if missing := (*found.missing_gates, *found.missing_people):
        raise NotGatedError(row.version, missing)
    site.artifacts.check_folder(row.adapter)
    by = {"approved_by": [signer_line(s) for s in found.counted.by], "by": signer_line(signer(db, actor))}
    by |= {"attested_by": [signer_line(s) for s in found.attested.by]} if found.attested.by else {}
    if run.to_stage == "champion":
        crown(site, db, model, row, actor, reason=reason, kind="version.promoted", more=by)
        monitor.open_reference(site, db, model.id, reason=f"version {row.version} promoted")
    else:
        place(site, db, model, row, actor, stage=run.to_stage, share=run.traffic_share, reason=reason, more=by)
    run.state, run.finished_at, run.rules = "promoted", site.clock.now(), found.rules.document()
    return row


def roll_back(
    site: Site, db: Session, model_name: str, actor: str, reason: str, predictions: Predictions | None = None
) -> ModelVersion:
    """Put the previous champion back; the present one is rejected, and promoted again only through its gates.

    Args:
        predictions: what the present champion answered, counted beforehand; the ledger keeps the count.

    Raises:
        NoChampionError, NoEarlierVersionError: there is nothing to go back from or to.
        IntegrityFailureError: the stored adapter of the previous champion has changed.
    """
    model = db.get_one(Model, model_named(db, model_name).id, with_for_update=True)
    present = store.champion(db, model.id)
    if present is None:
        raise NoChampionError(model_name)
    earlier = store.earlier_champion(db, model.id)
    if earlier is None:
        raise NoEarlierVersionError(model_name, present.version)
    if earlier.adapter is not None:
        site.artifacts.check_folder(earlier.adapter)
    more: dict[str, Any] = {"by": signer_line(signer(db, actor))}
    if predictions is not None and predictions.version == present.version:
        more["predictions"] = predictions.facts()
    crown(site, db, model, earlier, actor, reason=reason, kind="version.rolled_back", more=more)
    monitor.open_reference(site, db, model.id, reason=f"rolled back to version {earlier.version}")
    return earlier
