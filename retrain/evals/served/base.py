"""A served model in one form, whatever wrote its file: how rows become what it reads, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from core.errors import InvalidError
from retrain.train.config import Frozen
from retrain.train.tabular.recipe import TableColumn

LOG_ODDS: Final = "log-odds"
MARGIN: Final = "margin"  # before softmax or another function that turns it into an answer
PROBABILITY: Final = "probability"
OUTCOME: Final = "outcome"


class UnreadableModelError(InvalidError):
    """The file is of a known format and cannot be used as declared; the message says why and what to write."""

    code = "unreadable_model"


class Declared(Frozen):
    """What a spec says of the model: its columns with their types, and the keys of `explain` that matter here."""

    columns: tuple[TableColumn, ...]  # all that a model may read, in declared order
    inputs: tuple[str, ...]  # those with role input
    features: tuple[str, ...] | None = None
    levels: Mapping[str, tuple[str, ...]] = {}
    outputs: tuple[str, ...] | None = None
    classes: bool = True  # a classification
    boolean: bool = False  # the prediction is declared as boolean


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A model that can be asked.

    Attributes:
        columns: what it reads, in order.
        classes: of a classification, in the order of its scores; empty where it answers a number.
        outputs: names of its raw outputs: the classes, the second of two where one output stands for both, or `value`.
        unit: of the raw outputs.
        encode: typed rows -> what the model reads.
        raw: what it reads -> raw outputs, shape (rows, outputs).
        scores: what it reads and raw outputs -> a score for each class, of which the largest is its answer, or numbers,
            shape (rows, classes or 1).
        unseen: typed rows -> by column, for each row the level that the model was not trained on, or null.
        trees: what shap reads, None for a model that is no ensemble of trees; `tree_rows`: what it reads -> rows for
            shap; `tree_floats`: the same as an array, for a background. `members`: of each column, its features.
    """

    columns: tuple[TableColumn, ...]
    classes: tuple[str, ...]
    outputs: tuple[str, ...]
    unit: str
    encode: Callable[[pl.DataFrame], Any]
    raw: Callable[[Any], Floats]
    scores: Callable[[Any, Floats], Floats]
    unseen: Callable[[pl.DataFrame], Mapping[str, pl.Series]] = lambda _frame: {}
    trees: Any = None
    tree_rows: Callable[[Any], Any] = lambda encoded: encoded
    tree_floats: Callable[[Any], Floats] | None = None
    members: Sequence[Sequence[int]] | None = None
    notes: tuple[str, ...] = field(default=())

    def raw_of(self, frame: pl.DataFrame) -> Floats:
        return self.raw(self.encode(frame))


@dataclass(frozen=True, slots=True)
class Coding:
    """Typed rows as numbers: numbers and booleans as they are, categories by their places among levels."""

    columns: tuple[TableColumn, ...]
    levels: Mapping[str, tuple[str, ...]]

    def matrix(self, frame: pl.DataFrame) -> Floats:
        """Shape (rows, columns); NaN for what is missing, and for a level that is not listed."""
        found = [self._numbers(frame[c.name], c).to_numpy() for c in self.columns]
        return np.ascontiguousarray(np.stack(found, axis=1).astype(np.float64))

    def _numbers(self, values: pl.Series, column: TableColumn) -> pl.Series:
        if column.name in self.levels:
            listed = self.levels[column.name]
            texts = values.cast(pl.String)
            return texts.replace_strict(list(listed), list(range(len(listed))), default=None, return_dtype=pl.Float64)
        if column.type == "category":  # numbers that are codes, trained on as numbers
            found = values.replace(["true", "false"], ["1", "0"]).cast(pl.Float64, strict=False)
            if len(words := values.filter(found.is_null() & values.is_not_null())):
                raise UnreadableModelError(
                    f"the file does not say which code {words[0]!r} of {column.name} had in training; write its levels "
                    f"in the order of their codes, such as explain: {{levels: {{{column.name}: [a, b, c]}}}}",
                    field=f"explain.levels.{column.name}",
                )
            return found
        return values.cast(pl.Float64)

    def unseen(self, frame: pl.DataFrame) -> Mapping[str, pl.Series]:
        """By column with a level that has no code: for each row that level, or null."""
        found = {}
        for column in self.columns:
            if column.name in self.levels:
                lost = self._numbers(frame[column.name], column).is_null() & frame[column.name].is_not_null()
                if lost.any():
                    found[column.name] = frame[column.name].cast(pl.String).set(~lost, None)
        return found


def features_of(
    declared: Declared, names: Sequence[str] | None, count: int, *, plain: Callable[[str], str] = str
) -> tuple[TableColumn, ...]:
    """The columns that a model reads, in its order: as declared, by the file's names, or the inputs in their order.

    Args:
        names: of the features, as the file has them; None where it has none.
        plain: a column's name as the library writes it.

    Raises:
        UnreadableModelError: they are not so many, or have other names.
    """
    by_name = {c.name: c for c in declared.columns}
    if declared.features is not None:
        chosen = declared.features
        if len(chosen) != count:
            raise UnreadableModelError(
                f"explain.features names {len(chosen)} columns, and the model reads {count}"
                f"{_listed(names)}; name all of them in its order", field="explain.features",
            )  # fmt: skip
        return tuple(by_name[name] for name in chosen)
    written = {plain(name): name for name in by_name}
    if names is not None and all(name in written for name in names):
        return tuple(by_name[written[name]] for name in names)
    if len(declared.inputs) == count and (names is None or not any(name in written for name in names)):
        return tuple(by_name[name] for name in declared.inputs)
    lost = ", ".join(name for name in names or () if name not in written)[:200]
    unknown = f", and no column has the name {lost}" if lost else ""
    raise UnreadableModelError(
        f"the model reads {count} features{unknown}, and the spec has {len(declared.inputs)} inputs; name the columns "
        "that it reads, in its order, in explain.features",
        field="explain.features",
    )


def _listed(names: Sequence[str] | None) -> str:
    return f" ({', '.join(names)[:200]})" if names else ""


def classes_of(declared: Declared, known: Sequence[Any] | None, count: int) -> tuple[str, ...]:
    """The classes in the order of the outputs, as levels.

    Args:
        known: as the file has them; None where it has none.
        count: how many classes the model has.

    Raises:
        UnreadableModelError: nobody names them, or another number of them.
    """
    from monitor.levels import answer

    listed = declared.outputs
    if listed is None and known is not None:
        listed = tuple(written(one) for one in known)
    if listed is None and declared.boolean and count == 2:
        listed = ("false", "true")
    if listed is None:
        raise UnreadableModelError(
            f"the file does not name its {count} classes; write them in the order of the model's outputs, such as "
            "explain: {outputs: [refused, approved]}", field="explain.outputs",
        )  # fmt: skip
    if len(listed) != count:
        raise UnreadableModelError(
            f"explain.outputs has {len(listed)} classes ({', '.join(listed)[:200]}), and the model has {count}; "
            "name each",
            field="explain.outputs",
            value=list(listed),
        )
    return tuple(answer(one, truth=declared.boolean) or one for one in listed)


def written(value: Any) -> str:
    """A class or level of a library, as the level that events have: True, 1, 1.0 and `1` as they are there."""
    from monitor.levels import bool_level, level, number_level

    if isinstance(value, bool | np.bool_):
        return bool_level(bool(value))
    if isinstance(value, int | float | np.integer | np.floating):
        return number_level(value.item() if isinstance(value, np.generic) else value) or "nan"
    return level(str(value)) or str(value)


def outputs_of(classes: Sequence[str], count: int) -> tuple[str, ...]:
    """Names of `count` raw outputs: one for each class, the second of two for both, `value` of a number."""
    if not classes:
        return ("value",) if count == 1 else tuple(f"value {i + 1}" for i in range(count))
    return (classes[1],) if count == 1 else tuple(classes)


def sigmoid(raw: Floats) -> Floats:
    """Scores of both classes from one output, shape (rows, 2)."""
    with np.errstate(over="ignore"):
        second = 1 / (1 + np.exp(-raw[:, 0]))
    return np.stack([1 - second, second], axis=1)


def softmax(raw: Floats) -> Floats:
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    found: Floats = powers / powers.sum(axis=1, keepdims=True)
    return found


def are_shares(raw: Floats) -> bool:
    """Whether outputs are probabilities, by those of some rows: from 0 to 1, and of several classes 1 in sum."""
    known = raw[np.isfinite(raw).all(axis=1)]
    inside = bool(len(known)) and bool(((known >= 0) & (known <= 1)).all())
    return inside and (known.shape[1] == 1 or bool(np.allclose(known.sum(axis=1), 1, atol=1e-3)))
