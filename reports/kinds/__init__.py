"""The kinds of report: one table that names each, what it is about, and who gathers it.

What gathers a kind is loaded when one is built: pages and routes only name them.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from reports.document import FORMAT
from reports.errors import ReportKindError
from reports.kinds.base import About, Kind
from reports.kinds.subjects import erasure_of, incident_of, run_of, version_of

__all__ = ["KINDS", "About", "Kind", "kind_named", "period_kind"]


def _late(module: str, function: str) -> Callable[..., Any]:
    """A function of a module that is imported when it is first called."""

    def called(*given: Any) -> Any:
        return getattr(import_module(f"reports.{module}"), function)(*given)

    return called


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "audit", "Audit report", "everything that was watched, decided and done in a period", FORMAT,
            _late("facts.gather", "gather"),
        ),
        Kind(
            "fairness", "Fairness audit", "groups, disparities with intervals, impact ratios, what was unknown",
            "assay-fairness-audit/1", _late("kinds.fairness", "fairness_audit"),
        ),
        Kind(
            "dossier", "Retrain dossier",
            "one run: trigger, data, recipe, training, evaluation, gates, approvals, proof",
            "assay-retrain-dossier/1", _late("kinds.dossier", "dossier"), "run", run_of,
            _late("kinds.dossier", "proof_members"),
        ),
        Kind(
            "incident", "Incident file", "one incident: timeline, alerts, what people did, the clock of a serious one",
            "assay-incident-file/1", _late("kinds.incident", "incident_file"), "incident", incident_of,
        ),
        Kind(
            "model_card", "Model card", "one version: what it is, learned from, was judged by, did in service",
            "assay-model-card/1", _late("kinds.model_card", "model_card"), "version", version_of,
            _late("kinds.model_card", "bill_members"),
        ),
        Kind(
            "annex_iv", "Technical file, Annex IV of the EU AI Act",
            "the nine points of Annex IV, with what people must supply", "assay-annex-iv/1",
            _late("kinds.annex_iv", "technical_file"),
        ),
        Kind(
            "erasure", "Erasure certificate", "one erasure: what was asked, removed and proved, and what remains",
            "assay-erasure-certificate/1", _late("kinds.erasure", "certificate"), "erasure", erasure_of,
            _late("kinds.erasure", "proof_members"),
        ),
        Kind(
            "retention", "Retention certificate", "rules in force, what was removed when, legal holds",
            "assay-retention-certificate/1", _late("kinds.retention", "certificate"),
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
