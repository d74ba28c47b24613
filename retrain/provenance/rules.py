"""Whether the material of a run may be used: licences and bases of consent that the envelope allows, and expiry.

Asked when a run is considered, when it starts, when its rows are chosen, and again at its promotion.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from governance.provenance.declaration import NOT_PERSONAL, Declaration
from governance.provenance.licences import allows
from monitor.spec.envelope import Envelope
from monitor.spec.model import ModelSpec
from monitor.tables import Dataset, Model
from retrain import store
from retrain.envelope import Plan
from retrain.errors import MaterialRefusedError
from retrain.provenance.declarations import declarations
from retrain.provenance.nodes import first_digest, parents_of
from retrain.tables import Run

TRAINED_ON = "train"


@dataclass(frozen=True, slots=True)
class Material:
    """One thing that a run is made from, with what is declared of it."""

    kind: str  # events, dataset, base_model
    name: str
    content: str | None  # digest; None of events, which are many
    declaration: Declaration | None
    digest: str | None  # of the declaration
    learned: bool  # whether a model is trained on it; else it only judges
    other_content: bool = False  # something was declared, of other files than these

    @property
    def words(self) -> str:
        return "the model's events" if self.kind == "events" else f"{self.kind.replace('_', ' ')} {self.name}"

    @property
    def how(self) -> str:
        if self.kind == "events":
            return "add the section `provenance` to the spec"
        return f"declare it: assay provenance add MODEL FILE --{self.kind.replace('_', '-')} {self.name!r}"


def material_of(
    db: Session, model: Model, spec: ModelSpec, *, base_digest: str | None = None, run: Run | None = None
) -> list[Material]:
    """What a run of this spec is made from: events, registered datasets, the base model.

    Args:
        base_digest: of the base's files, if they were read; else those that were declared last count.
        run: its training set and those of the versions it goes on from tell which datasets were used.
    """
    of: dict[tuple[str, str], Declaration] = {}
    known = declarations(db, model.id)
    for row in reversed(known):
        of[row.kind, row.content] = Declaration.of(row.document)
    newest = {(row.kind, row.name): row.content for row in reversed(known)}

    def found(kind: str, name: str, content: str | None, *, learned: bool) -> Material:
        told = of.get((kind, content)) if content is not None else None
        other = told is None and (kind, name) in newest
        return Material(kind, name, content, told, told.digest if told else None, learned, other)

    base = Plan.of(spec).recipe.base_model
    events = _of_events(spec)
    return [
        Material("events", model.name, None, events, None if events is None else events.digest, learned=True),
        found("base_model", base, base_digest or newest.get(("base_model", base)), learned=True),
        *(
            found("dataset", row.name, first_digest(row), learned=row.role == TRAINED_ON)
            for row in _datasets(db, model, run)
        ),
    ]


def _of_events(spec: ModelSpec) -> Declaration | None:
    """What the spec says of the model's own events; its window and steps are those of each dataset."""
    told = spec.provenance
    if told is None:
        return None
    today = datetime(1970, 1, 1, tzinfo=UTC).date()
    return Declaration.model_validate(
        {
            "source": f"events of {spec.model}", "licence": told.licence, "consent": told.consent,
            "collector": told.collector, "known_biases": told.known_biases, "expires": told.expires,
            "collected": {"from": today, "to": today}, "processing": [], "synthetic_share": 0.0,
        }
    )  # fmt: skip


def _datasets(db: Session, model: Model, run: Run | None) -> list[Dataset]:
    """Registered datasets that a run would read now, and those that it and the versions it goes on from did read."""
    present = [d for role in ("train", "holdout", "golden") for d in store.registered_datasets(db, model.id, role)]
    if run is None:
        return present
    read = {d.id: d for d in present} if run.state in ("queued", "curating") else {}
    every = store.datasets(db, model.id)
    seen = set[str]()
    at: Run | None = run
    while at is not None and str(at.id) not in seen:
        seen.add(str(at.id))
        trained = store.run_datasets(db, at.id).get(TRAINED_ON)
        read |= {d.id: d for d in (parents_of(trained, every) if trained is not None else ())}
        before = store.version_named(db, model.id, at.champion_version) if goes_on(at) else None
        at = store.run(db, before.run_id) if before is not None and before.run_id is not None else None
    return list(read.values())


def goes_on(run: Run) -> bool:
    """Whether a run trained on from the adapter of the champion."""
    return bool((run.config or {}).get("parent_adapter"))


def refusals(envelope: Envelope, material: Iterable[Material], now: datetime) -> Iterator[str]:
    """Why material may not be used, each a sentence with what to do; nothing if all may."""
    for one in material:
        told = one.declaration
        if told is None:
            asked = [name for name in ("licences", "consent") if getattr(envelope, name) and _concerns(name, one)]
            if asked:
                what = "was declared for other files than it has now" if one.other_content else "has no provenance"
                yield f"{one.words} {what}, and envelope.{' and envelope.'.join(asked)} asks for it; {one.how}"
            continue
        if told.expired(now):
            yield (f"{one.words} might be used until {told.expires}, and it is {now.astimezone(UTC):%Y-%m-%d}; leave "
                   "it out, or declare it again with a later expiry")  # fmt: skip
        if envelope.licences and not allows(envelope.licences, told.licence):
            yield (f"{one.words} has licence {told.licence}, envelope.licences allows {', '.join(envelope.licences)}; "
                   "leave it out, or let people allow that licence in the spec")  # fmt: skip
        if _concerns("consent", one) and not _consented(envelope.consent, told.consent):
            yield (f"{one.words} rests on {told.consent}, envelope.consent allows {', '.join(envelope.consent)} for "
                   "training; leave it out, or let people allow that basis in the spec")  # fmt: skip


def _concerns(rule: str, one: Material) -> bool:
    return rule == "licences" or one.learned


def _consented(allowed: Collection[str], basis: str) -> bool:
    return not allowed or basis == NOT_PERSONAL or basis in allowed


def check(material: Sequence[Material], envelopes: Iterable[Envelope], now: datetime) -> None:
    """
    Raises:
        MaterialRefusedError: something may not be used under one of the envelopes.
    """
    found = dict.fromkeys(reason for envelope in envelopes for reason in refusals(envelope, material, now))
    if found:
        raise MaterialRefusedError(tuple(found))


def material_record(material: Iterable[Material]) -> list[dict[str, Any]]:
    """Which declarations a run rests on, for the ledger."""
    return [{"of": one.kind, "name": one.name, "content": one.content, "declaration": one.digest} for one in material]
