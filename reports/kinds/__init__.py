"""The kinds of report: one table that names each, what it is about, and who gathers it."""

from collections.abc import Mapping
from typing import Final

from reports.document import FORMAT
from reports.errors import ReportKindError
from reports.facts.gather import gather
from reports.kinds import annex_iv, dossier, erasure, fairness, incident, model_card, retention
from reports.kinds.base import About, Kind
from reports.kinds.subjects import erasure_of, incident_of, run_of, version_of

__all__ = ["KINDS", "About", "Kind", "kind_named", "period_kind"]

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("audit", "Audit report", "everything that was watched, decided and done in a period", FORMAT, gather),
        Kind(
            "fairness", fairness.TITLE, "groups, disparities with intervals, impact ratios, what was unknown",
            fairness.FORMAT, fairness.fairness_audit,
        ),
        Kind(
            "dossier", dossier.TITLE, "one run: trigger, data, recipe, training, evaluation, gates, approvals, proof",
            dossier.FORMAT, dossier.dossier, "run", run_of, dossier.proof_members,
        ),
        Kind(
            "incident", incident.TITLE, "one incident: timeline, alerts, what people did, the clock of a serious one",
            incident.FORMAT, incident.incident_file, "incident", incident_of,
        ),
        Kind(
            "model_card", model_card.TITLE, "one version: what it is, learned from, was judged by, did in service",
            model_card.FORMAT, model_card.model_card, "version", version_of, model_card.bill_members,
        ),
        Kind(
            "annex_iv", annex_iv.TITLE, "the nine points of Annex IV, with what people must supply",
            annex_iv.FORMAT, annex_iv.technical_file,
        ),
        Kind(
            "erasure", erasure.TITLE, "one erasure: what was asked, removed and proved, and what remains",
            erasure.FORMAT, erasure.certificate, "erasure", erasure_of, erasure.proof_members,
        ),
        Kind(
            "retention", retention.TITLE, "rules in force, what was removed when, legal holds",
            retention.FORMAT, retention.certificate,
        ),
    )
}  # fmt: skip


def period_kind(name: str) -> Kind:
    """A kind that is about a period, as a schedule asks for. Raises ReportKindError, with the list of these."""
    of_periods = {kind.name: kind for kind in KINDS.values() if kind.find is None}
    if name not in of_periods:
        raise ReportKindError(name, tuple(of_periods))
    return of_periods[name]


def kind_named(name: str) -> Kind:
    """Raises ReportKindError, with the list."""
    if name not in KINDS:
        raise ReportKindError(name, tuple(KINDS))
    return KINDS[name]
