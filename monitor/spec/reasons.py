"""Which decisions are adverse, and how their reasons are told: the spec key `reasons`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from monitor.levels import answer, level
from monitor.reasons.codes import ReasonTable
from monitor.spec.base import KeyProblem, SpecPart, Written
from monitor.spec.problems import nearest

if TYPE_CHECKING:
    from monitor.spec.model import ModelSpec

MAX_REASONS: Final = 10
UNREAD: Final = ("prediction", "score", "subject", "outcome")  # roles that no model reads for its answer


def _truth_as_text(value: Any) -> Any:
    """YAML reads `false` as a truth value, and 0 as a number; a class is either."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


ClassName = Annotated[str, Field(min_length=1, max_length=200), BeforeValidator(_truth_as_text),
                      Written("class", "refused")]  # fmt: skip


class AdverseNumber(SpecPart):
    """Which numbers of a regression are adverse."""

    below: float | None = Field(None, description="smaller numbers are adverse", examples=[600])
    above: float | None = Field(None, description="larger numbers are adverse", examples=[0.2])

    @model_validator(mode="after")
    def _one(self) -> "AdverseNumber":
        if (self.below is None) == (self.above is None):
            raise ValueError("names exactly one of below and above, such as `{below: 600}`")
        return self


class PopulationRows(SpecPart):
    """A registered dataset, whose rows are the reference population."""

    dataset: str = Field(min_length=1, description="a data set that was registered for this model",
                         examples=["approved-2025"])  # fmt: skip


class ReasonTexts(SpecPart):
    """Plain language by reason, under a version: what a notice quotes."""

    version: str = Field(min_length=1, max_length=64, description="of the texts and groups; other texts need another "
                         "version", examples=['"2026-01"'])  # fmt: skip
    texts: Mapping[str, Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        min_length=1,
        description="by column, or by group: the reason in plain language, as a notice tells it",
        examples=["{income: Income is too low for the amount, history: Payments were late or missed}"],
    )


class Reasons(SpecPart):
    """Reason codes of adverse decisions, against a reference population, and what a person could change."""

    adverse: ClassName | AdverseNumber = Field(
        description="the class that is adverse; of a regression, the numbers", examples=["refused", "{below: 600}"]
    )
    reference: Literal["approved", "all"] | PopulationRows = Field(
        "approved",
        description="the population that a decision is compared with: rows of the reference whose decision is not "
        "adverse, all its rows, or those of a data set. Another population gives other reasons",
        examples=["approved", "{dataset: approved-2025}"],
    )
    reference_rows: int = Field(
        500, ge=30, le=10_000, description="rows of the population that are explained at most, drawn by a fixed seed",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    most: int = Field(
        4, ge=1, le=MAX_REASONS, description="the largest number of reasons; fewer are told where fewer push the "
        "decision", json_schema_extra={"unit": "reasons"},
    )  # fmt: skip
    table: ReasonTexts = Field(description="the reasons in plain language, under a version")
    group: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="by name: columns that are one reason, whose attributions are added first, such as correlated ones",
        examples=["{history: [late_payments, defaults]}"],
    )
    exclude: tuple[str, ...] = Field(
        (),
        description="columns that are never told as a reason because they stand for a protected attribute; columns "
        "with role protected never are. One that carries weight is shown to whoever may read protected columns",
        examples=["[postcode]"],
    )
    mutable: Mapping[str, Literal["up", "down", "any"]] = Field(
        default_factory=dict,
        description="by column: how a person can change it; the smallest changes of these that turn an adverse "
        "decision are looked for among the values of the reference",
        examples=["{income: up, debt: down, purpose: any}"],
    )
    budget: int = Field(
        2_000, ge=10, le=1_000_000, description="rows that the model is asked at most in the search for changes",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip

    @property
    def reason_table(self) -> ReasonTable:
        """Texts and groups under their version."""
        return ReasonTable(self.table.version, dict(self.table.texts), {k: list(v) for k, v in self.group.items()})


def features_of(spec: "ModelSpec") -> tuple[str, ...]:
    """The columns that the explained model reads."""
    declared = spec.explain.features if spec.explain is not None else None
    return declared if declared is not None else spec.with_role("input")


def never_told(spec: "ModelSpec") -> tuple[str, ...]:
    """Columns that may be no reason: protected ones, and those that stand for one."""
    declared = spec.reasons.exclude if spec.reasons is not None else ()
    return tuple(dict.fromkeys((*spec.with_role("protected"), *declared)))


def check_reasons(spec: "ModelSpec") -> None:
    """Raises KeyProblem where `reasons` does not go with columns and task."""
    if spec.reasons is None:
        return
    _check_adverse(spec, spec.reasons)
    _check_groups(spec, spec.reasons)
    for at, name in enumerate(spec.reasons.exclude):
        _check_column(spec, ("reasons", "exclude", at), name)
    _check_texts(spec, spec.reasons)
    _check_mutable(spec, spec.reasons)


def _check_adverse(spec: "ModelSpec", reasons: Reasons) -> None:
    key = ("reasons", "adverse")
    if spec.task == "generation":
        raise KeyProblem(("reasons",), "are for decisions, and the task is generation; leave it out")
    if isinstance(reasons.adverse, AdverseNumber) != (spec.task == "regression"):
        wanted = "numbers, such as `{below: 600}`" if spec.task == "regression" else "a class, such as `refused`"
        raise KeyProblem(key, f"does not fit task {spec.task}; name {wanted}")
    if isinstance(reasons.adverse, AdverseNumber):
        return
    if level(reasons.adverse) is None:
        raise KeyProblem(key, f"is {reasons.adverse!r}, which is no value; name a class, such as `refused`")
    name = spec.with_role("prediction")[0]
    if spec.columns[name].type == "boolean" and answer(reasons.adverse, truth=True) not in ("true", "false"):
        raise KeyProblem(key, f"is {reasons.adverse!r}, and {name} is a boolean; write true or false")


def check_adverse_output(spec: "ModelSpec") -> None:
    """Raises KeyProblem where the adverse class is no output of the explained model."""
    if spec.reasons is None or isinstance(spec.reasons.adverse, AdverseNumber) or spec.explain is None:
        return
    truth = spec.columns[spec.with_role("prediction")[0]].type == "boolean"
    outputs, adverse = spec.explain.outputs, spec.reasons.adverse
    if outputs is not None and answer(adverse, truth=truth) not in [answer(one, truth=truth) for one in outputs]:
        raise KeyProblem(("reasons", "adverse"), f"is {adverse!r}, which is none of explain.outputs "
                         f"({', '.join(outputs)}); name one of them")  # fmt: skip


def _check_groups(spec: "ModelSpec", reasons: Reasons) -> None:
    owner: dict[str, str] = {}
    for group, members in reasons.group.items():
        key = ("reasons", "group", group)
        if not members:
            raise KeyProblem(key, "is an empty list; name the columns that are one reason, or leave it out")
        if group in spec.columns and group not in members:
            raise KeyProblem(key, "is the name of a column that is not among its columns; choose another name")
        for at, name in enumerate(members):
            _check_column(spec, (*key, at), name)
            if name in owner:
                raise KeyProblem((*key, at), f"names {name!r}, which is in {owner[name]} already; a column is in one "
                                 "reason")  # fmt: skip
            owner[name] = group


def _check_texts(spec: "ModelSpec", reasons: Reasons) -> None:
    group_of = {name: group for group, members in reasons.group.items() for name in members}
    hidden = never_told(spec)
    for feature in features_of(spec):
        reason = group_of.get(feature, feature)
        if feature not in hidden and reason not in reasons.table.texts:
            of = f" of group {reason}," if reason != feature else ""
            raise KeyProblem(
                ("reasons", "table", "texts"),
                f"has no text for {feature!r},{of} which the model reads; add `{reason}: ...` in plain language, or "
                "name the column in reasons.exclude if it stands for a protected attribute",
            )
    for name, text in reasons.table.texts.items():
        key = ("reasons", "table", "texts", name)
        if not text.strip():
            raise KeyProblem(key, "is blank; write the reason in plain language")
        if name in reasons.group:
            continue
        _check_column(spec, key, name, f" and no group{nearest(name, (*reasons.group, *spec.columns))}")
        if name in group_of:
            raise KeyProblem(key, f"is in group {group_of[name]}, whose text is told; leave this one out")
        if name in hidden:
            raise KeyProblem(key, "is never told as a reason, because it is, or stands for, a protected attribute; "
                             "leave its text out")  # fmt: skip


def _check_mutable(spec: "ModelSpec", reasons: Reasons) -> None:
    for name, direction in reasons.mutable.items():
        key = ("reasons", "mutable", name)
        _check_column(spec, key, name)
        kind = spec.columns[name].type
        if name in never_told(spec):
            raise KeyProblem(key, "is, or stands for, a protected attribute, which nobody is told to change; leave it "
                             "out")  # fmt: skip
        if name not in features_of(spec):
            raise KeyProblem(key, "is not read by the model, so that changing it changes nothing; leave it out")
        if kind not in ("number", "category", "boolean"):
            raise KeyProblem(key, f"the column has type {kind}; only a number, category or boolean can be changed")
        if kind != "number" and direction != "any":
            raise KeyProblem(key, f"is {direction!r}, and a {kind} has no direction; write `any`")


def _check_column(spec: "ModelSpec", key: tuple[str | int, ...], name: str, more: str = "") -> None:
    column = spec.columns.get(name)
    if column is None:
        close = more or nearest(name, tuple(spec.columns))
        raise KeyProblem(key, f"names {name!r}, which is no column that is declared under columns{close}")
    if column.role in UNREAD:
        raise KeyProblem(key, f"names {name!r}, which has role {column.role}: no model reads that for its answer")
