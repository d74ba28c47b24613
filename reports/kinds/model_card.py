"""Model card of a version: what it is, what it learned from, how it was judged, what it did in service, its limits."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from core.canonical import canonical
from monitor.site import Site
from reports import document as doc
from reports import store
from reports.facts import runs as told
from reports.facts.citations import Citations
from reports.facts.trained import trained_line
from reports.kinds import kind_named
from reports.kinds.fairness_tables import disparities_table, group_tables
from reports.kinds.listings import (
    alerts_table,
    evaluation_table,
    gates_table,
    measures_table,
    promotions_table,
    table,
    trained_tables,
)
from reports.kinds.made import base_of, fact, sections_report
from reports.lineage.mlbom import mlbom_bytes
from reports.parts import Unmeasured
from reports.paths import without_paths
from reports.tables import Report
from retrain import store as retrained
from retrain.registry.card import card_of
from retrain.tables import ModelVersion

KIND: Final = kind_named("model_card")
EVERY: Final = "Counted over every window of its time, whichever version answered in it."


def model_card(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The document of a model card."""
    base, version = base_of(site, db, row), str(row.subject)
    assert base.front is not None
    assert base.fair is not None
    card: dict[str, Any] = without_paths(card_of(site, db, base.identity.model, version))
    found = next(v for v in retrained.versions(db, row.model_id) if v.version == version)
    line = trained_line(db, store.model_of(db, row.model_id), found, _citations(db, base, found))
    run = next((r for r in base.runs if r.candidate == version), None)
    promotions = [p for p in base.front.promotions if p.version == version]
    served = [w for w in base.windows if version in w.versions]
    named = {w.id for w in served}
    kpi = tuple(m for m in base.kpi if m.window in named)
    sections = (
        doc.ReportSection(title="Intended use", facts=(
            fact("Purpose", base.identity.purpose), fact("Task", base.identity.task),
            fact("Risk tier", base.identity.risk), fact("Answers for it", base.identity.owner),
            fact("Inputs", ", ".join(card["inputs"])),
            fact("Protected columns", ", ".join(card["protected"]) or "none"),
        ), supply=("uses that it must not be put to", "persons and groups that it affects")),
        doc.ReportSection(title="Data", tables=trained_tables([line])),
        doc.ReportSection(title="Recipe and training", facts=_training(card, run)),
        doc.ReportSection(title="How it was judged before it was put into service", tables=(
            (gates_table(run), evaluation_table(run)) if run is not None else _judged(card)
        )),
        doc.ReportSection(title="Put into service", tables=(promotions_table(promotions),)),
        doc.ReportSection(title="In service", text=(_service_words(version, served),), tables=(
            measures_table("KPIs of its windows", kpi, "No KPI was measured of it in service."),
            alerts_table(base.alerts, "No alert was open in its time."),
        )),
        doc.ReportSection(title="Groups", text=(base.fair.sentence, EVERY), tables=(
            disparities_table(base.fair), *group_tables(base.fair))),
        doc.ReportSection(title="Limits", text=tuple(card["limits"]) or ("No limit is recorded.",),
                          supply=("conditions under which it must not be relied on",)),
    )  # fmt: skip
    return sections_report(
        row, base, title=KIND.title, format=KIND.format, about="version", sentence=_sentence(card, line, promotions),
        status="ok", facts=_facts(card, promotions), sections=sections, not_measured=_missing(card, served),
        fair=base.fair, kpi=kpi, alerts=base.alerts,
    )  # fmt: skip


def bill_members(site: Site, db: Session, row: Report) -> dict[str, bytes]:
    """The card and the bill of materials of the version, as members of the bundle."""
    name, version = store.model_of(db, row.model_id).name, str(row.subject)
    card = without_paths(card_of(site, db, name, version))
    return {"card.json": canonical(card), "provenance/mlbom.json": mlbom_bytes(site, db, name, version)}


def _citations(db: Session, base: doc.AuditReport, version: ModelVersion) -> Citations:
    subjects = [f"model:{base.identity.model}", *((f"run:{version.run_id}",) if version.run_id else ())]
    return Citations(store.entries(db, subjects, base.checkpoint.size if base.checkpoint else None))


def _sentence(card: Mapping[str, Any], line: doc.TrainedLine, promotions: list[doc.PromotionLine]) -> str:
    made = "the base model, which nothing was trained for here"
    if line.run:
        rows = sum(s.rows for s in line.sets if s.role == "train")
        made = f"trained in run {line.run[:8]} on {rows:,} rows"
    stage = {"champion": "in service", "retired": "no longer in service"}.get(card["stage"], f"stage {card['stage']}")
    by = promotions[-1].approved if promotions else ()
    approved = f"approved by {', '.join(a.who for a in by)}" if by else "no approval is recorded"
    if not by and promotions and promotions[-1].needed == 0:
        approved = "no approval was asked for"
    return f"Version {card['version']} of {card['model']} is {stage}: {made}; {approved}."


def _facts(card: Mapping[str, Any], promotions: list[doc.PromotionLine]) -> list[doc.Fact]:
    promoted = promotions[-1] if promotions else None
    return [
        fact("Version", card["version"]), fact("Stage", card["stage"]),
        fact("Base model", card["base_model"]["name"]),
        fact("Digest of the base", card["base_model"]["digest"], type="digest"),
        fact("Adapter", card["adapter"], type="digest", reason="it has none"),
        fact("Signed", "yes" if card["signed"] else "no"), fact("Made", card["created_at"], type="time"),
        fact("Put into service", card["promoted_at"], type="time", reason="never",
             entry=promoted.entry if promoted else None),
        fact("Retired", card["retired_at"], type="time", reason="not yet"),
        fact("Digest of the card", card["digest"], type="digest"),
    ]  # fmt: skip


def _training(card: Mapping[str, Any], run: doc.RunLine | None) -> tuple[doc.Fact, ...]:
    if run is not None:
        lines = (*told.configuration(run.config, run.metrics), *told.training(run.metrics))
        return tuple(fact(name, value) for name, value in lines)
    if card["recipe"] is None:
        return (fact("Recipe", None, reason="nothing was trained here"),)
    return (fact("Digest of the recipe", card["recipe_digest"], type="digest"),)


def _judged(card: Mapping[str, Any]) -> tuple[doc.SectionTable, ...]:
    rows = (
        (judged["against"], g["gate"].replace("_", " "), g["verdict"], str(g["reason"]))
        for judged in card["judged"]
        for g in judged["gates"]
    )
    columns = "against text 0.6; gate text 0.8; verdict mark 0.7; reason text 2.6"
    return (table("Gates", columns, rows, "It was judged by no gate: the model began with it."),)


def _service_words(version: str, served: list[doc.WindowLine]) -> str:
    if not served:
        return f"{version} answered in no window of its time."
    by_scale: dict[str, int] = {}
    for w in served:
        by_scale[w.scale] = by_scale.get(w.scale, 0) + w.rows
    rows = max(by_scale.values())
    return f"{version} answered in {len(served):,} windows; {rows:,} rows in them, each counted once."


def _missing(card: Mapping[str, Any], served: list[doc.WindowLine]) -> tuple[Unmeasured, ...]:
    found = []
    if card["training"] is None:
        found.append(Unmeasured(what="training", why="nothing was trained here", count=None))
    if card["energy"]["kwh"] is None:
        found.append(Unmeasured(what="energy", why=str(card["energy"]["reason"]), count=None))
    if not served:
        found.append(Unmeasured(what="how it does in service", why="no window of its time ended", count=None))
    return tuple(found)
