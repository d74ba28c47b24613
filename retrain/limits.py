"""The limits of an envelope, each with what was declared, what was measured and whether that is inside. Pure.

One table lists them. What lies outside before a run, while it trains or after it comes from here, and so does the
document that proves a run stayed inside.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from monitor.spec.duration import duration
from monitor.spec.envelope import Envelope
from retrain.train.counts import RowCounts, cut_words

MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit against one measurement. `inside` is None while nothing was measured."""

    limit: str  # key below `retrain.envelope`
    declared: Any
    measured: Any
    unit: str
    inside: bool | None
    reason: str

    def record(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known about a run so far; None where nothing was measured yet."""

    recipe: Mapping[str, Any] = field(default_factory=dict)  # values of the recipe, with its defaults
    base_digest: str | None = None
    sources: Mapping[str, int] | None = None  # training rows by source
    synthetic_rows: int | None = None
    rows: int | None = None
    began_at: datetime | None = None
    oldest_at: datetime | None = None  # of the events among the training rows
    cut: Mapping[str, RowCounts] = field(default_factory=dict)  # by set
    hours: float | None = None
    kwh: float | None = None
    adapter_bytes: int | None = None
    adapter_parameters: int | None = None


def facts_from(
    record: Mapping[str, Any] | None, origin: Mapping[str, Any], rows: int | None, began_at: datetime
) -> RunFacts:
    """What was measured of a run: `record` is the trainer's run.json, `origin` the provenance of its training set."""
    done = record or {}
    seconds, oldest = done.get("train_seconds"), origin.get("oldest_at")
    return RunFacts(
        base_digest=done.get("digests", {}).get("base"),
        sources=origin.get("rows_by_source"),
        synthetic_rows=origin.get("synthetic_rows"),
        rows=rows,
        began_at=began_at,
        oldest_at=datetime.fromisoformat(oldest) if oldest else None,
        cut={name: RowCounts(**counts) for name, counts in done.get("counts", {}).items()},
        hours=None if seconds is None else float(seconds) / 3600,
        kwh=done.get("used", {}).get("kwh"),
        adapter_bytes=done.get("adapter_bytes"),
        adapter_parameters=done.get("trainable_parameters"),
    )


def _base_models(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    name = facts.recipe.get("base_model")
    if envelope.base_models and name is not None:
        words = f"base_model {name} is not among {', '.join(envelope.base_models)}"
        yield _check("base_models", list(envelope.base_models), name, "", name in envelope.base_models, words)


def _revisions(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    name = facts.recipe.get("base_model")
    allowed = envelope.revisions.get(str(name))
    found = facts.recipe.get("revision") or facts.base_digest
    if allowed is None or found is None:
        return
    inside = facts.base_digest in allowed or facts.recipe.get("revision") in allowed
    if not inside and facts.base_digest is None and any(one.startswith("sha256:") for one in allowed):
        return  # the digest of the files decides, and it is not known yet
    words = f"base_model {name} is {found}, envelope.revisions allows {', '.join(allowed)}"
    yield _check("revisions", list(allowed), found, "", inside, words)


def _methods(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    method = facts.recipe.get("method")
    if envelope.methods and method is not None:
        words = f"method {method} is not among {', '.join(envelope.methods)}"
        yield _check("methods", list(envelope.methods), method, "", method in envelope.methods, words)


def _hyperparameters(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    for name, (least, most) in envelope.hyperparameters.items():
        if not facts.recipe:
            continue
        value = facts.recipe.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            numbers = sorted(k for k, v in facts.recipe.items() if isinstance(v, int | float) and v is not True)
            words = f"envelope.hyperparameters names {name!r}, which is no number of the recipe; choose from "
            yield _check(f"hyperparameters.{name}", [least, most], None, "", False, words + ", ".join(numbers))
        else:
            words = f"{name} is {value:g}, envelope.hyperparameters allows {least:g} to {most:g}"
            yield _check(f"hyperparameters.{name}", [least, most], value, "", least <= value <= most, words)


def _sources(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if envelope.sources and facts.sources is not None:
        used = sorted(name for name, rows in facts.sources.items() if rows)
        others = [name for name in used if not _is_source(name, envelope.sources)]
        words = f"rows come from {', '.join(others)}, envelope.sources allows {', '.join(envelope.sources)}"
        yield _check("sources", list(envelope.sources), used, "", not others, words)


def _is_source(name: str, sources: Iterable[str]) -> bool:
    """Rows name a dataset `dataset:NAME`; a spec may write NAME alone, unless that is `events`."""
    return name in sources or (name.removeprefix("dataset:") in sources and name != "dataset:events")


def _data_window(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if envelope.data_window is None or facts.began_at is None or facts.oldest_at is None:
        return
    first = facts.began_at - duration(envelope.data_window)
    words = f"the oldest event is of {facts.oldest_at.isoformat()}, data_window {envelope.data_window} begins at "
    words += first.isoformat()
    yield _check("data_window", envelope.data_window, facts.oldest_at.isoformat(), "", facts.oldest_at >= first, words)


def _rows(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if facts.rows is None:
        return
    rows = facts.rows
    if envelope.min_rows:
        words = f"{rows} training rows, min_rows is {envelope.min_rows}"
        yield _check("min_rows", envelope.min_rows, rows, "rows", rows >= envelope.min_rows, words)
    words = f"{rows} training rows, max_rows is {envelope.max_rows}"
    yield _check("max_rows", envelope.max_rows, rows, "rows", rows <= envelope.max_rows, words)


def _synthetic(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if facts.rows is None or facts.synthetic_rows is None:
        return
    share = facts.synthetic_rows / facts.rows if facts.rows else 0.0
    words = (
        f"{facts.synthetic_rows} of {facts.rows} training rows are synthetic ({share:.1%}), max_synthetic_share is "
        f"{envelope.max_synthetic_share:g}"
    )
    yield _check(
        "max_synthetic_share",
        envelope.max_synthetic_share,
        share,
        "share",
        share <= envelope.max_synthetic_share,
        words,
    )


def _cut(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    most = envelope.max_cut_share
    for name, counts in facts.cut.items():
        words = cut_words(counts, name, int(facts.recipe.get("max_length", 0)), most)
        yield _check(f"max_cut_share.{name}", most, counts.cut_share, "share", counts.cut_share <= most, words)


def _hours(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if facts.hours is not None:
        words = f"{facts.hours:.2f} hours of training, max_gpu_hours is {envelope.max_gpu_hours:g}"
        yield _check(
            "max_gpu_hours", envelope.max_gpu_hours, facts.hours, "hours", facts.hours <= envelope.max_gpu_hours, words
        )


def _energy(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if envelope.max_kwh is not None and facts.kwh is not None:
        words = f"{facts.kwh:.4g} kWh, as estimated, max_kwh is {envelope.max_kwh:g}"
        yield _check("max_kwh", envelope.max_kwh, facts.kwh, "kWh", facts.kwh <= envelope.max_kwh, words)


def _adapter(envelope: Envelope, facts: RunFacts) -> Iterator[LimitCheck]:
    if envelope.max_adapter_mb is not None and facts.adapter_bytes is not None:
        size = facts.adapter_bytes / MB
        words = f"the adapter has {size:.3f} MB, max_adapter_mb is {envelope.max_adapter_mb:g}"
        yield _check("max_adapter_mb", envelope.max_adapter_mb, size, "MB", size <= envelope.max_adapter_mb, words)
    most = envelope.max_adapter_parameters
    if most is not None and facts.adapter_parameters is not None:
        words = f"{facts.adapter_parameters} parameters are trained, max_adapter_parameters is {most}"
        yield _check(
            "max_adapter_parameters", most, facts.adapter_parameters, "parameters", facts.adapter_parameters <= most,
            words,
        )  # fmt: skip


LIMITS: Final[Mapping[str, Callable[[Envelope, RunFacts], Iterable[LimitCheck]]]] = {
    "base_models": _base_models,
    "revisions": _revisions,
    "methods": _methods,
    "hyperparameters": _hyperparameters,
    "sources": _sources,
    "data_window": _data_window,
    "rows": _rows,
    "max_synthetic_share": _synthetic,
    "max_cut_share": _cut,
    "max_gpu_hours": _hours,
    "max_kwh": _energy,
    "adapter": _adapter,
}


FIELDS: Final = {"rows": ("min_rows", "max_rows"), "adapter": ("max_adapter_mb", "max_adapter_parameters")}


def declared(envelope: Envelope) -> dict[str, Any]:
    """Every limit that these checks measure, with its declared value; None or empty where none is declared."""
    names = [field for limit in LIMITS for field in FIELDS.get(limit, (limit,))]
    return {name: getattr(envelope, name) for name in names}


def checks(envelope: Envelope, facts: RunFacts) -> tuple[LimitCheck, ...]:
    """Every declared limit for which something was measured."""
    return tuple(check for limit in LIMITS.values() for check in limit(envelope, facts))


def outside(envelope: Envelope, facts: RunFacts) -> tuple[LimitCheck, ...]:
    """The limits that a run is past; empty when it is inside all that was measured."""
    return tuple(check for check in checks(envelope, facts) if check.inside is False)


AT_LEAST: Final = ("min_rows",)  # limits that a smaller measurement is past


def allowed(exceptions: Iterable[Mapping[str, Any]], limit: str, measured: Any) -> bool:
    """Whether one of a run's exceptions allows this measurement, or one that is further out."""
    return any(e["limit"] == limit and _within(limit, measured, e["granted"]) for e in exceptions)


def _within(limit: str, measured: Any, granted: Any) -> bool:
    if not isinstance(measured, int | float) or not isinstance(granted, int | float):
        return bool(measured == granted)
    return measured >= granted if limit in AT_LEAST else measured <= granted


def _check(limit: str, declared: Any, measured: Any, unit: str, inside: bool, words: str) -> LimitCheck:
    return LimitCheck(limit, declared, measured, unit, inside, words)
