"""The facts of a report's first page, each from the rows and entries that hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Model, SpecRevision, Window
from reports import document as doc
from reports.charts.text import number
from reports.facts.approvals import approval_words, promotion_lines
from reports.facts.citations import Citations
from reports.facts.deeds import deed_lines, foremost
from reports.facts.said import SaidBy
from reports.facts.trained import trained_lines
from reports.fairness import DisparityLine, FairnessAnswer
from reports.wording.volume import counted_once, length_lines
from retrain.tables import ModelVersion, Run

_WORST = {"beyond": 0, "cannot say": 1, "inside": 2, "no limit": 3, "not measured": 4}
VERIFY = "assay verify BUNDLE.zip --key "


@dataclass(frozen=True, slots=True)
class Frame:
    """The model and the time that a first page is about, with what was read of them."""

    model: Model
    spec: ModelSpec
    revisions: Sequence[SpecRevision]  # every one
    since: datetime
    until: datetime
    known: datetime  # what followed later does not count
    citations: Citations


def front_page(
    site: Site, db: Session, at: Frame, windows: Sequence[Window], alerts: Sequence[Alert], runs: Sequence[Run],
    versions: Sequence[ModelVersion], fair: FairnessAnswer,
) -> doc.FrontPage:  # fmt: skip
    """Facts alone; the sentences of the page are made of them."""
    entries, said = at.citations.entries(), SaidBy(site.keys.subject)
    lengths = length_lines(windows)
    rows, labels = counted_once(lengths)
    promotions = promotions_of(at, runs, said)
    deeds = deed_lines(db, entries, alerts, at.since, at.until, [str(r.id) for r in runs], at.citations, said, at.known)
    kept = foremost(deeds)
    return doc.FrontPage(
        rows=rows, labels=labels, lengths=lengths, promotions=promotions,
        approval_words=approval_words(promotions, at.spec), fair=fair.answer, fair_sentence=fair.sentence,
        worst=worst_of(fair),
        trained=trained_lines(db, at.model, versions, windows, at.since, at.until, at.citations),
        deeds=kept, deeds_left=len(deeds) - len(kept),
        verify=VERIFY + site.keys.vkey,
    )  # fmt: skip


def promotions_of(at: Frame, runs: Sequence[Run], said: SaidBy) -> tuple[doc.PromotionLine, ...]:
    """Versions that were put into service in the period, or by these runs."""
    under = {str(r.id): int((r.rules or {}).get("now") or r.spec_revision) for r in runs}
    specs = {r.revision: parse_spec(r.document) for r in at.revisions if r.revision in set(under.values())}
    entries = at.citations.entries()
    return promotion_lines(entries, specs, under, at.since, at.until, under, said)


def worst_of(fair: FairnessAnswer) -> doc.WorstDisparity | None:
    """The disparity that lies worst against its limit; where none has a limit, the first that was measured."""
    measured = [line for line in fair.disparities if line.value is not None]
    if not measured:
        return None
    line = min(measured, key=lambda one: (_WORST[one.verdict], not one.declared, _margin(one)))
    return doc.WorstDisparity(
        metric=line.metric, by=line.by, value=line.value, low=line.low, high=line.high, n=line.n, limit=line.limit,
        limit_word=line.limit_word, verdict=line.verdict, rate=line.rate,
        groups=tuple(f"{number(g.value)} in {g.group} (n = {g.n:,})" for g in line.groups),
    )  # fmt: skip


def _margin(line: DisparityLine) -> float:
    """How far inside its limit a disparity lies; less than nothing where it is beyond."""
    if line.limit is None or line.value is None:
        return 0.0
    return line.limit - line.value if line.limit_word == "max" else line.value - line.limit
