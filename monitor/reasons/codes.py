"""Reason codes: the principal reasons of an adverse decision, from numbers alone.

Pure. `ReasonInputs` is what a record keeps, so that anybody can compute the same codes again, years later.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from core.canonical import digest
from core.errors import InvalidError

RULE: Final = (
    "1: for each reason, the sum over its features of (attribution - mean attribution in the reference population), "
    "signed so that more is more adverse; only sums above the residual of the explanation; the largest first; sums "
    "that agree to a billionth of the largest in alphabetical order of their codes; at most the declared number"
)
TIE: Final = 1e-9  # of the largest contribution, by size: what is closer than this is a tie
State = Literal["issued", "none", "withheld"]


@dataclass(frozen=True)
class ReasonTable:
    """Plain language by reason, with the version that a notice must name.

    Attributes:
        version: as declared.
        texts: by reason: a feature, or the name of a group of features.
        groups: by name: the features that are one reason, such as those of one category or correlated ones.
    """

    version: str
    texts: Mapping[str, str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of version, texts and groups; the order in which they are written does not count."""
        groups = {name: sorted(features) for name, features in self.groups.items()}
        return digest({"version": self.version, "texts": self.texts, "groups": groups})

    def reason_of(self, feature: str) -> str:
        """The reason that a feature belongs to: its group, else itself."""
        return next((name for name, features in self.groups.items() if feature in features), feature)


@dataclass(frozen=True)
class Population:
    """The reference population: whose mean the attributions of one decision are compared with.

    Attributes:
        name: `approved`, `all`, or that of a dataset.
        rows: how many were explained; `digest` is of their ids and attributions.
        means: mean attribution by feature, of the same output, version and background as the explained decision.
    """

    name: str
    rows: int
    digest: str
    means: Mapping[str, float]


@dataclass(frozen=True)
class ReasonInputs:
    """All that the codes of one decision follow from.

    Attributes:
        decision: the recorded answer.
        explained: the answer that the explained version gives to the recorded inputs.
        adverse: whether the recorded answer is adverse, by the spec; `adverse_means` says what is.
        toward: 1 where a larger output is more adverse, -1 where a smaller one is.
        attributions: by feature, of the explained output.
        residual: |base + sum of attributions - output|; `tolerance` is the largest with which reasons are issued.
        protected: features that are protected attributes, or declared as derived from one: never a reason.
        most: the largest number of reasons.
        cause: why the explanation gives no attributions, such as inputs that the model cannot read; None where it does.
    """

    decision: str
    explained: str
    adverse: bool
    adverse_means: str
    toward: Literal[1, -1]
    attributions: Mapping[str, float]
    residual: float
    tolerance: float
    population: Population
    table: ReasonTable
    protected: Sequence[str] = ()
    most: int = 4
    cause: str | None = None


@dataclass(frozen=True)
class ReasonCode:
    """One reason. `contribution` is how far its features push this decision further than the reference population's."""

    code: str
    text: str
    features: tuple[str, ...]
    attribution: float
    reference: float
    contribution: float


@dataclass(frozen=True)
class Finding:
    """What compliance must see: a feature that may not be a reason carries weight in this decision.

    `rank` is the place that it would have among the reasons and the other findings together.
    """

    feature: str
    contribution: float
    rank: int
    sentence: str


@dataclass(frozen=True)
class ReasonCodes:
    """`withheld` and `none` have no codes and say why; `findings` stand beside any state but `withheld`."""

    state: State
    why: str | None
    codes: tuple[ReasonCode, ...] = ()
    findings: tuple[Finding, ...] = ()


def reason_codes(given: ReasonInputs) -> ReasonCodes:
    """The principal reasons of an adverse decision against a reference population, by `RULE`.

    A protected feature is taken out of its reason before the sum, never shown, and a finding where it alone would have
    been a reason. Nothing is invented: fewer reasons than `most`, or none, are an answer.

    Args:
        given: the record; attributions and means in the unit of the explained output.

    Returns:
        At most `most` codes, the largest contribution first; or none, with the cause.

    Raises:
        InvalidError: `most` is below 1.

    Source: 12 CFR 1002.9(b)(2) and its official interpretation, which has no method of its own; RULE is this project's.
    """
    if given.most < 1:
        raise InvalidError(f"most is {given.most}; give at least 1", field="most", value=given.most)
    if (why := _withheld(given)) is not None:
        return ReasonCodes("withheld", why)
    pushes = {name: _difference(given, name) for name in given.attributions}
    sums: dict[str, list[str]] = {}
    for name in pushes:
        if name not in given.protected:
            sums.setdefault(given.table.reason_of(name), []).append(name)
    missing = [reason for reason in sums if not given.table.texts.get(reason, "").strip()]
    if missing:
        return ReasonCodes(
            "withheld", f"table {given.table.version} has no text for {', '.join(missing)}; add it in a new version"
        )
    totals = {reason: math.fsum(pushes[name] for name in names) for reason, names in sums.items()}
    floor = max(given.residual, TIE * max(map(abs, pushes.values()), default=0.0))
    ranked = _ranked({reason: total for reason, total in totals.items() if total > floor})
    codes = tuple(_code(given, reason, sums[reason], totals[reason]) for reason in ranked[: given.most])
    findings = _findings(given, {n: v for n, v in pushes.items() if n in given.protected}, totals, floor)
    if codes:
        return ReasonCodes("issued", None, codes, findings)
    why = f"no reason pushes the decision further to {given.adverse_means} than in the reference population"
    return ReasonCodes("none", why, (), findings)


def _withheld(given: ReasonInputs) -> str | None:
    """Why no reasons may be issued at all."""
    if not given.adverse:
        return f"the decision is {given.decision!r}, which is not adverse; adverse is {given.adverse_means}"
    if given.explained != given.decision:
        return (
            f"the recorded decision is {given.decision!r}, and the explained version answers {given.explained!r} to "
            "the recorded inputs, so its attributions are those of another decision"
        )
    if given.cause is not None:
        return given.cause
    if not given.attributions:
        return "the explanation has no attributions"
    means = given.population.means
    numbers = [*given.attributions.values(), given.residual, *means.values()]
    if not all(map(_is_finite, numbers)):
        return "an attribution, a mean of the reference population or the residual is no finite number"
    if given.residual > given.tolerance:
        return (
            f"the attributions miss the output by {given.residual:.3g}, more than the tolerance of "
            f"{given.tolerance:.3g}, so they do not add up to this decision"
        )
    if given.population.rows < 1:
        return f"the reference population {given.population.name!r} has no rows"
    if absent := [name for name in given.attributions if name not in means]:
        return f"the reference population has no mean attribution of {', '.join(absent)}"
    return None


def _is_finite(number: float | None) -> bool:
    """A record keeps what is no finite number as null."""
    return number is not None and math.isfinite(number)


def _difference(given: ReasonInputs, name: str) -> float:
    return given.toward * (given.attributions[name] - given.population.means[name])


def _ranked(totals: Mapping[str, float]) -> list[str]:
    """The largest first; what agrees within TIE of the largest, by name."""
    step = TIE * max(totals.values(), default=1.0)
    return sorted(totals, key=lambda reason: (-round(totals[reason] / step), reason))


def _code(given: ReasonInputs, reason: str, features: Sequence[str], total: float) -> ReasonCode:
    return ReasonCode(
        code=reason, text=given.table.texts[reason], features=tuple(features),
        attribution=math.fsum(given.attributions[name] for name in features),
        reference=math.fsum(given.population.means[name] for name in features), contribution=total,
    )  # fmt: skip


def _findings(
    given: ReasonInputs, protected: Mapping[str, float], totals: Mapping[str, float], floor: float
) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for name, value in sorted(protected.items(), key=lambda item: (-item[1], item[0])):
        if value <= floor:
            continue
        rank = 1 + len(found) + sum(total > value for total in totals.values())
        among = f"it would be reason {rank}" if rank <= given.most else f"{rank - 1} others weigh more"
        found.append(Finding(
            name, value, rank,
            f"{name} is protected, or derived from what is, and pushes this decision to {given.adverse_means}: {among}"
            ". It is no reason that may be given; the decision needs a person",
        ))  # fmt: skip
    return tuple(found)
