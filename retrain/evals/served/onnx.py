"""ONNX models, run by onnxruntime on the CPU; loaded from bytes, so that a file names no other file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from core.arrays import Floats
from core.errors import AppError
from retrain.evals.served.base import (
    MARGIN,
    OUTCOME,
    PROBABILITY,
    Coding,
    Declared,
    Served,
    UnreadableModelError,
    are_shares,
    classes_of,
    features_of,
    outputs_of,
    sigmoid,
)
from retrain.train.tabular.recipe import TableColumn

_TYPES: Final = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_, "tensor(string)": np.object_,
}  # fmt: skip

_WHOLE: Final = "takes whole numbers, so a missing value or a level that is not listed is 0, and a fraction is cut off"
_WITHOUT_MISSING: Final[Mapping[Any, str]] = {
    np.int64: _WHOLE, np.int32: _WHOLE, np.bool_: "takes true or false, so a missing value is false",
    np.object_: "takes texts, so a missing value is the empty text",
}  # fmt: skip


def read_onnx(path: Path, declared: Declared, sample: pl.DataFrame) -> Served:
    """One tensor of all columns, or an input for each column, by name.

    Args:
        sample: typed rows; whether the outputs are probabilities is seen by what it gives for them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        said = (str(error).splitlines() or ["no reason"])[0][:200]
        raise UnreadableModelError(
            f"explain.model: onnxruntime cannot load the file ({said})", field="explain.model"
        ) from error
    inputs = session.get_inputs()
    if others := [one for one in inputs if one.type not in _TYPES]:
        raise UnreadableModelError(f"explain.model: input {others[0].name} has type {others[0].type}; rows "
                                   "of columns are numbers or texts", field="explain.model")  # fmt: skip
    if len(inputs) == 1:
        width = inputs[0].shape[1] if len(inputs[0].shape) > 1 and isinstance(inputs[0].shape[1], int) else None
        columns = features_of(declared, None, width or len(declared.features or declared.inputs))
        encode = _one_tensor(inputs[0].name, _TYPES[inputs[0].type], columns, declared)
        kinds = [_TYPES[inputs[0].type]] * len(columns)
    else:
        columns = features_of(declared, [one.name for one in inputs], len(inputs))
        encode = _tensors([(one.name, _TYPES[one.type]) for one in inputs], columns, declared)
        kinds = [_TYPES[one.type] for one in inputs]
    found = _Asked(session, classes=declared.classes)
    return replace(_served(declared, columns, encode, found, sample), notes=_notes(columns, kinds))


def _notes(columns: Sequence[TableColumn], kinds: Sequence[Any]) -> tuple[str, ...]:
    """How columns reach inputs that have no missing value."""
    named: dict[str, list[str]] = {}
    for column, kind in zip(columns, kinds, strict=True):
        if kind in _WITHOUT_MISSING:
            named.setdefault(_WITHOUT_MISSING[kind], []).append(column.name)
    return tuple(f"{', '.join(names)}: the model's input {reads}" for reads, names in named.items())


def _served(
    declared: Declared,
    columns: tuple[TableColumn, ...],
    encode: Callable[[pl.DataFrame], Any],
    found: "_Asked",
    sample: pl.DataFrame,
) -> Served:
    first = _first(encode, found, sample)
    count = first.shape[1]
    coding = Coding(columns, dict(declared.levels))
    if not declared.classes:
        if count != 1:
            raise UnreadableModelError(f"explain.model gives {count} numbers a row, and the event has one",
                                       field="explain.model")  # fmt: skip
        return Served(columns, (), outputs_of((), 1), OUTCOME, encode, found.raw, lambda _, raw: raw, coding.unseen)
    shares = are_shares(first)
    classes = classes_of(declared, found.labels, max(2, count))

    def scores(_: Any, raw: Floats) -> Floats:
        if raw.shape[1] > 1:
            return raw
        return np.concatenate([1 - raw, raw], axis=1) if shares else sigmoid(raw)

    unit = PROBABILITY if shares else MARGIN
    return Served(columns, classes, outputs_of(classes, count), unit, encode, found.raw, scores, coding.unseen)


def _first(encode: Callable[[pl.DataFrame], Any], found: "_Asked", sample: pl.DataFrame) -> Floats:
    """Outputs for the sample; for its complete rows where the model reads no missing value, such as a text."""
    try:
        return found.raw(encode(sample))
    except AppError:
        raise
    except Exception:  # onnxruntime's errors have no common base
        complete = sample.drop_nulls()
        if complete.height in (0, sample.height):
            raise
        return found.raw(encode(complete))


class _Asked:
    """The session as a function of its inputs. `labels`: of a classifier that names its classes in its answers."""

    def __init__(self, session: Any, *, classes: bool) -> None:
        self._session, self._classes = session, classes
        self.labels: Sequence[Any] | None = None
        kinds = [(one.name, one.type) for one in session.get_outputs()]
        maps = [name for name, kind in kinds if kind.startswith("seq(map")]
        numbers = [name for name, kind in kinds if kind in ("tensor(float)", "tensor(double)")]
        self._maps = bool(maps)
        if not maps and not numbers:
            raise UnreadableModelError("explain.model: no output is a tensor of numbers; export the probabilities too",
                                       field="explain.model")  # fmt: skip
        self._output = maps[0] if maps else next((n for n in numbers if "prob" in n.lower()), numbers[-1])

    def raw(self, encoded: Any) -> Floats:
        found = self._session.run([self._output], encoded)[0]
        if self._maps:
            self.labels = sorted(found[0])
            return np.array([[row[name] for name in self.labels] for row in found], dtype=np.float64)
        array = np.asarray(found, dtype=np.float64)
        return array.reshape(len(array), -1)


def _one_tensor(
    name: str, kind: Any, columns: tuple[TableColumn, ...], declared: Declared
) -> Callable[[pl.DataFrame], Any]:
    coding = Coding(columns, dict(declared.levels))

    def encode(frame: pl.DataFrame) -> Any:
        if kind is np.object_:
            return {name: np.stack([_texts(frame[c.name]) for c in columns], axis=1)}
        return {name: _cast(coding.matrix(frame), kind)}

    return encode


def _tensors(
    inputs: Sequence[tuple[str, Any]], columns: tuple[TableColumn, ...], declared: Declared
) -> Callable[[pl.DataFrame], Any]:
    def encode(frame: pl.DataFrame) -> Any:
        found = {}
        for (name, kind), column in zip(inputs, columns, strict=True):
            if kind is np.object_:
                found[name] = _texts(frame[column.name])[:, None]
            else:
                levels = {n: v for n, v in declared.levels.items() if n == column.name}
                found[name] = _cast(Coding((column,), levels).matrix(frame), kind)
        return found

    return encode


def _cast(numbers: Floats, kind: Any) -> Any:
    if kind in (np.float32, np.float64):
        return numbers.astype(kind)
    return np.nan_to_num(numbers, nan=0.0).astype(kind)  # whole numbers and truth values have none for what is missing


def _texts(values: pl.Series) -> Any:
    return values.cast(pl.String).fill_null("").to_numpy().astype(object)
