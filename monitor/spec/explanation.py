"""How the answers of a model of typed columns are explained: the spec key `explain`."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from monitor.levels import answer, level
from monitor.spec.base import KeyProblem, SpecPart, Written
from monitor.spec.duration import Duration
from monitor.spec.problems import nearest

if TYPE_CHECKING:
    from monitor.spec.model import ModelSpec

READABLE: Final = ("number", "category", "boolean", "text", "string")  # types of columns that a model file may read
UNREAD: Final = ("prediction", "score", "subject", "outcome")
PATH: Final = re.compile(r"(/|\./|\.\./|~/).+")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def _place(value: str) -> str:
    if not PATH.fullmatch(value) and not DIGEST.fullmatch(value):
        raise ValueError(
            f"{value[:100]!r} is no file; write a path that starts with /, ./, ../ or ~/, or the digest sha256:... of "
            "a file that is kept here"
        )
    return value


Place = Annotated[str, Written("file", "/models/credit/model.ubj"), AfterValidator(_place)]


class Rows(SpecPart):
    """A registered dataset, whose rows are the background."""

    dataset: str = Field(min_length=1, description="a data set that was registered for this model",
                         examples=["training-2026"])  # fmt: skip


class Explain(SpecPart):
    """How the served model can be asked or read, and what its answers are compared with."""

    model: Place | None = Field(
        None, description="the file of the served model: a path on the machine of the worker, or the digest of a file "
        "that is kept here; XGBoost JSON or UBJSON, LightGBM text, CatBoost cbm, scikit-learn in skops' format, ONNX. "
        "A pickle is refused, whatever its name. Without it and `endpoint`, versions that were retrained here are read",
        examples=["./models/credit.ubj"],
    )  # fmt: skip
    endpoint: str | None = Field(
        None, min_length=1, max_length=63, description="in place of `model`: the name of an endpoint of the "
        "installation (ASSAY_ENDPOINTS__NAME), which answers rows with scores; see "
        "[endpoints](explanations.md#endpoints)",
        examples=["credit"],
    )  # fmt: skip
    format: Literal["xgboost", "lightgbm", "catboost", "skops", "onnx"] | None = Field(
        None, description="the format of the file; without it, the file itself says"
    )
    version: str | None = Field(
        None, min_length=1, max_length=256, description="the version that the file or endpoint is: answers of another "
        "version are not explained by it; without it, every answer is, if it is also the file's",
        examples=["v7"],
    )  # fmt: skip
    features: tuple[str, ...] | None = Field(
        None, min_length=1, description="the columns that the model reads, in its order; without it, the names that "
        "the file has, or else the columns with role input in declared order",
        examples=["[age, purpose, amount]"],
    )  # fmt: skip
    levels: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="by category column: the levels in the order of the codes 0, 1, 2 ... that "
        "the model was trained on; only where the file does not know them itself",
        examples=["{purpose: [car, house, school]}"],
    )  # fmt: skip
    outputs: tuple[str, ...] | None = Field(
        None, min_length=2, description="of a classification: the classes in the order of the model's outputs; without "
        "it, the file's own, or false and true of a boolean prediction",
        examples=["[refused, approved]"],
    )  # fmt: skip
    threshold: float | None = Field(
        None, gt=0, lt=1, description="of two classes: the probability of the second from which it is answered; "
        "without it, the more probable class is",
        examples=["0.3"],
    )  # fmt: skip
    background: Literal["reference"] | Rows | None = Field(
        None, description="the rows that stand for a column that is left out: those of the reference, or of a data "
        "set. Without it trees use their own counts of training rows, and other models the reference",
        examples=["reference", "{dataset: training-2026}"],
    )  # fmt: skip
    background_rows: int = Field(
        100, ge=1, le=10_000, description="rows of the background, drawn by `seed`", json_schema_extra={"unit": "rows"}
    )
    budget: int = Field(
        20_000, ge=4, le=10_000_000, description="how many rows the model is asked at most for one answer, where it is "
        "no tree; fewer take a smaller background and fewer permutations", json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    timeout: Duration = Field("20s", description="of an endpoint: the time that one request may take; all requests of "
                              "an explanation together may take ten times that")  # fmt: skip
    seed: int = Field(0, ge=0, lt=2**31, description="of the background rows and permutations")

    @property
    def brought(self) -> bool:
        """Whether the model is a file or an endpoint that a user brings, and no version that was retrained here."""
        return self.model is not None or self.endpoint is not None

    @model_validator(mode="after")
    def _one_source(self) -> "Explain":
        if self.model is not None and self.endpoint is not None:
            raise KeyProblem(("endpoint",), "is set beside model; give the file or the endpoint, not both")
        alone = {"format": self.format, "version": self.version, "features": self.features, "levels": self.levels,
                 "outputs": self.outputs, "threshold": self.threshold}  # fmt: skip
        if self.model is None and self.endpoint is None and (given := [name for name, v in alone.items() if v]):
            raise KeyProblem((given[0],), "is set without model and endpoint; it describes a file that you bring, so "
                             "name it in model, or leave this out")  # fmt: skip
        if self.endpoint is not None and self.format is not None:
            raise KeyProblem(("format",), "is set beside endpoint, which has none; leave it out")
        for name, listed in (("features", self.features), ("outputs", self.outputs), *self.levels.items()):
            own = listed or ()
            if twice := [one for one in own if own.count(one) > 1]:
                key = ("levels", name) if name in self.levels and own is self.levels[name] else (name,)
                raise KeyProblem(key, f"names {twice[0]!r} twice; each has one place")
        if self.threshold is not None and self.outputs is not None and len(self.outputs) != 2:
            raise KeyProblem(("threshold",), f"is set, and outputs names {len(self.outputs)} classes; leave it out")
        return self


def check_explanation(spec: "ModelSpec") -> None:
    """Raises KeyProblem where `explain` does not go with columns and task."""
    explain = spec.explain
    if explain is None:
        return
    for at, name in enumerate(explain.features or ()):
        _check_column(spec, ("explain", "features", at), name)
    for name, listed in explain.levels.items():
        _check_column(spec, ("explain", "levels", name), name)
        if spec.columns[name].type not in ("category", "boolean"):
            raise KeyProblem(("explain", "levels", name), f"the column has type {spec.columns[name].type}; only a "
                             "category has levels, so leave it out")  # fmt: skip
        if blank := [one for one in listed if level(one) is None]:
            raise KeyProblem(("explain", "levels", name), f"names {blank[0]!r}, which is no value; leave it out")
    if spec.task != "classification":
        for key in ("outputs", "threshold"):
            if getattr(explain, key) is not None:
                raise KeyProblem(("explain", key), f"is set, and the task is {spec.task}, which has no classes; leave "
                                 "it out")  # fmt: skip
    if explain.brought and spec.task == "generation":
        raise KeyProblem(("explain",), "names a model of typed columns, and the task is generation; leave it out")
    prediction = spec.columns[spec.with_role("prediction")[0]]
    if prediction.type == "boolean" and explain.outputs is not None:
        meant = {answer(one, truth=True) for one in explain.outputs}
        if not meant <= {"true", "false"}:
            raise KeyProblem(("explain", "outputs"), f"is {list(explain.outputs)}, and the prediction is a boolean; "
                             "write [false, true] or [true, false], in the order of the model's outputs")  # fmt: skip


def _check_column(spec: "ModelSpec", key: tuple[str | int, ...], name: str) -> None:
    column = spec.columns.get(name)
    if column is None:
        raise KeyProblem(key, f"names column {name!r}, which is not declared under columns"
                         f"{nearest(name, tuple(spec.columns))}")  # fmt: skip
    if column.role in UNREAD:
        raise KeyProblem(key, f"names {name!r}, which has role {column.role}: no model reads that for its answer")
    if column.type not in READABLE:
        read = ", ".join(READABLE)
        raise KeyProblem(key, f"names {name!r}, which has type {column.type}; types that are read: {read}")
