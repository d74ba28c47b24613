"""Technical file of Annex IV of the EU AI Act: what is recorded fills its points, what only people know is named.

Source: Regulation (EU) 2024/1689, Annex IV; the nine points in our words.
"""

from typing import Final

from sqlalchemy.orm import Session

from monitor.site import Site
from reports import document as doc
from reports.facts import runs as told
from reports.kinds import kind_named
from reports.kinds.fairness_tables import disparities_table, group_tables
from reports.kinds.listings import (
    alerts_table,
    gates_table,
    limits_table,
    measures_table,
    plan_table,
    promotions_table,
    specs_table,
    table,
    thresholds_table,
    trained_tables,
    verdicts_table,
    versions_table,
)
from reports.kinds.made import NOT_A_VERDICT, base_of, fact, sections_report
from reports.parts import Unmeasured
from reports.tables import Report

KIND: Final = kind_named("annex_iv")


def technical_file(site: Site, db: Session, row: Report) -> doc.SectionsReport:
    """The nine points over a period."""
    base = base_of(site, db, row)
    sections = (
        _general(base), *_development(base), _functioning(base), _suits(base), _risks(base), _changes(base),
        doc.ReportSection(title="7. Standards applied", supply=("the list of harmonised standards, or how else the "
                          "requirements are met",)),
        doc.ReportSection(title="8. Declaration of conformity", supply=("a copy of the EU declaration of conformity",)),
        _after_market(base),
    )  # fmt: skip
    asked = sum(len(s.supply) for s in sections)
    computed = sum(any(t.rows for t in s.tables) or any(f.value is not None for f in s.facts) for s in sections)
    sentence = (
        f"{computed} of {len(sections)} parts hold evidence from the records of {base.identity.model}; {asked} items "
        "only people can supply, and each is named in its place."
    )
    return sections_report(
        row, base, title=KIND.title, format=KIND.format, about="", sentence=sentence, status="unknown",
        facts=(
            fact("System", base.identity.model), fact("Purpose", base.identity.purpose),
            fact("Risk tier declared", base.identity.risk), fact("Provider's contact", base.identity.owner),
            fact("Parts with evidence", computed, type="count"), fact("Items people must supply", asked, type="count"),
        ),
        sections=sections, not_measured=(*base.not_measured, Unmeasured(
            what="points 7 and 8", why="they are statements of the provider", count=None)),
        fair=base.fair, kpi=base.kpi, fairness=base.fairness, groups=base.groups, alerts=base.alerts,
        decisions=base.decisions,
    )  # fmt: skip


def _general(base: doc.AuditReport) -> doc.ReportSection:
    identity = base.identity
    return doc.ReportSection(
        title="1. General description",
        facts=(
            fact("Intended purpose", identity.purpose), fact("Task", identity.task),
            fact("Champion at the end", identity.champion, reason="none is registered"),
            fact("Spec in force", f"revision {identity.spec_revision}", digest=identity.spec_digest,
                 entry=identity.spec_entry),
        ),
        tables=(versions_table(base.versions),),
        supply=("the provider's name and address", "interaction with other hardware and software",
                "the forms in which it is placed on the market, and the hardware it runs on",
                "the user interface, and the instructions for use"),
    )  # fmt: skip


def _development(base: doc.AuditReport) -> tuple[doc.ReportSection, ...]:
    runs = base.runs[-1:] if base.runs else ()
    recipe = [fact(name, value) for r in runs for name, value in told.configuration(r.config, r.metrics)]
    assert base.front is not None
    return (
        doc.ReportSection(
            title="2. Development: methods, third-party parts, compute", facts=tuple(recipe),
            text=() if recipe else ("No run trained in the period.",),
            tables=(_parts(base),),
            supply=("design choices with their reasons, and what the system is optimised for",
                    "the architecture, and how its parts build on each other"),
        ),
        doc.ReportSection(
            title="2(d). Data: provenance, scope, selection, labelling, cleaning",
            tables=trained_tables(base.front.trained),
            supply=("how the data was labelled before it came here", "gaps of the data, and how they are dealt with"),
        ),
        doc.ReportSection(
            title="2(e). Human oversight", text=(base.front.approval_words,),
            tables=(promotions_table(base.front.promotions),),
            supply=("an assessment of the oversight measures that are needed",),
        ),
        doc.ReportSection(
            title="2(f). Changes determined beforehand",
            tables=tuple(limits_table(r) for r in base.runs) or (table(
                "Limits determined beforehand", "limit text 1.0", (), "No run was held to limits in the period."),),
        ),
        doc.ReportSection(
            title="2(g). Validation and testing", tables=tuple(gates_table(r) for r in base.runs) or (table(
                "Gates", "gate text 1.0", (), "No version was tested in the period."),),
            supply=("test reports made elsewhere, dated and signed",),
        ),
        doc.ReportSection(title="2(h). Cybersecurity", supply=("the measures in place",), facts=(
            fact("Ledger", f"{base.checkpoint.size:,} entries signed" if base.checkpoint else None,
                 reason="no checkpoint was signed", digest=base.checkpoint.root if base.checkpoint else None),)),
    )  # fmt: skip


def _parts(base: doc.AuditReport) -> doc.SectionTable:
    rows = ((s.name, s.version) for s in base.software)
    return table("Software in use", "name text 1.0; version text 1.0", rows, "None is recorded.")


def _functioning(base: doc.AuditReport) -> doc.ReportSection:
    assert base.fair is not None
    return doc.ReportSection(
        title="3. Monitoring, functioning and control",
        text=(base.health, base.fair.sentence),
        tables=(
            verdicts_table(base.verdicts), measures_table("Accuracy and other KPIs", base.kpi, "No KPI was measured."),
            disparities_table(base.fair), *group_tables(base.fair),
        ),
        supply=("foreseeable unintended outcomes and sources of risk", "the specification of input data for deployers"),
    )  # fmt: skip


def _suits(base: doc.AuditReport) -> doc.ReportSection:
    return doc.ReportSection(
        title="4. Why the performance metrics suit", tables=(thresholds_table(base.thresholds),),
        supply=("why these metrics and limits suit the purpose",),
    )  # fmt: skip


def _risks(base: doc.AuditReport) -> doc.ReportSection:
    return doc.ReportSection(
        title="5. Risk management", text=(f"Declared false-alarm budget: {base.false_alarm_budget}.",),
        tables=(alerts_table(base.alerts, "No alert was open in the period."),),
        supply=("the risk management system (Article 9), and who signed off the residual risk",),
    )  # fmt: skip


def _changes(base: doc.AuditReport) -> doc.ReportSection:
    return doc.ReportSection(
        title="6. Relevant changes over the lifecycle",
        tables=(specs_table(base.specs), promotions_table(base.front.promotions if base.front else ())),
        supply=("changes made outside this installation",),
    )  # fmt: skip


def _after_market(base: doc.AuditReport) -> doc.ReportSection:
    return doc.ReportSection(
        title="9. Performance after market placement, and the plan", text=(NOT_A_VERDICT,),
        tables=(plan_table(base.plan),), supply=("the post-market monitoring plan as a document (Article 72)",),
    )  # fmt: skip
