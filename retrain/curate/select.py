"""Labelled rows of a model in the one shape that curation works on."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import polars as pl

from monitor.levels import as_levels, other_truths
from monitor.spec.model import ModelSpec
from retrain.curate.dedupe import KEY, REJECTED, SUBJECT
from retrain.errors import DatasetError
from retrain.learned import learned_column, learned_inputs, table_columns
from retrain.train.config import Preference
from retrain.train.errors import DataError
from retrain.train.kinds import KINDS, AnyTask, is_table
from retrain.train.mitigation.weights import PROTECTED
from retrain.train.tabular.recipe import TableColumn
from retrain.train.tabular.rows import as_texts, held

EVENTS: Final = "events"


@dataclass(frozen=True, slots=True)
class Shape:
    """Which columns of a model become the text, the label and the groups of a training row."""

    inputs: tuple[str, ...]
    label: str
    protected: tuple[str, ...]
    completion: bool  # the label is a text to be written
    table: tuple[TableColumn, ...] = ()  # of a tabular recipe: the typed inputs
    numeric: bool = False  # the label is a number
    subject: str | None = None  # whose rows are never both trained on and held out
    answers: tuple[str, ...] = ()  # dpo: the columns of two answers, of which the label tells the preferred
    truth: bool = False  # prediction or label is declared as boolean, so 1 and 0 are true and false
    spelling: Mapping[str, str] = field(default_factory=dict)  # of truth values, where the champion has another

    @classmethod
    def of(cls, spec: ModelSpec, task: AnyTask, preference: Preference | None = None) -> Self:
        """Raises RecipeError where the spec declares no input, or a target that the task cannot learn."""
        label = learned_column(spec, task, preference)
        subject = next(iter(spec.with_role("subject")), None)
        table = table_columns(spec) if is_table(task) else ()
        inputs = tuple(column.name for column in table) or learned_inputs(spec, preference)
        prediction = spec.with_role("prediction")[0]
        answers = () if preference is None else (prediction, preference.other)
        return cls(
            inputs,
            label,
            spec.with_role("protected"),
            task in ("causal_lm", "dpo"),
            table,
            task == "tabular_regression",
            subject,
            answers,
            "boolean" in (spec.columns[prediction].type, spec.columns[label].type),
        )

    def spelled(self, known: Collection[str]) -> Self:
        """The shape whose labels spell truth values as the champion does: 1 and 0, or true and false.

        A boolean is compared so in KPIs too, and whoever reads the answers goes on reading what they read before.

        Args:
            known: labels of the champion; none where it has no usable head.
        """
        return replace(self, spelling=other_truths(known)) if self.truth and self.classifies else self

    @property
    def classifies(self) -> bool:
        return not self.completion and not self.numeric

    def texts(self, frame: pl.DataFrame) -> pl.Series:
        """The input of each row as one text; of typed columns one JSON object."""
        return as_texts(frame, self.table) if self.table else rendered(frame, self.inputs)

    def keyed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of typed columns count each by itself: equal ones are common there, and not repeats."""
        return rows.with_columns(pl.col("row_id").alias(KEY)) if self.table else rows

    def labels(self, frame: pl.DataFrame, name: str) -> pl.Series:
        """The label as text: classes as levels, texts as they are, and of a list of right answers the first."""
        values = frame[name].list.first() if isinstance(frame.schema[name], pl.List) else frame[name]
        if self.numeric:
            return held(values).cast(pl.String).alias("label")
        found = values.cast(pl.String) if self.completion else as_levels(values)
        return found.replace(list(self.spelling), list(self.spelling.values())).alias("label")

    def learned(self, frame: pl.DataFrame, name: str) -> list[pl.Series]:
        """What is learned of each row: its label; of two answers, the preferred as the label, and the rejected."""
        if not self.answers:
            return [self.labels(frame, name)]
        first, second = (frame[answer].cast(pl.String) for answer in self.answers)
        said = as_levels(frame[name])
        taken = said.is_in([self.answers[0], "true"]), said.is_in([self.answers[1], "false"])
        none = pl.Series([None], dtype=pl.String)
        chosen = first.zip_with(taken[0].fill_null(value=False), second.zip_with(taken[1].fill_null(value=False), none))
        rejected = second.zip_with(taken[0].fill_null(value=False), first)
        return [chosen.alias("label"), rejected.alias(REJECTED)]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns the trainer reads; what is asked, what is learned, and the rejected answer."""
        if self.answers:
            return KINDS["dpo"].columns
        return KINDS["causal_lm" if self.completion else "sequence_classification"].columns


@dataclass(frozen=True, slots=True)
class Drops:
    """Rows left out, by reason; nothing is dropped without being counted."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, count: int) -> None:
        if count:
            self.counts[reason] = self.counts.get(reason, 0) + count

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self.counts.items())


def rendered(frame: pl.DataFrame, inputs: Sequence[str]) -> pl.Series:
    """The model's input as one text a row: the text itself, or `name: value` lines where there are several columns."""
    if len(inputs) == 1:
        return frame[inputs[0]].cast(pl.String)
    parts = [pl.format("{}: {}", pl.lit(name), pl.col(name).cast(pl.String).fill_null("")) for name in inputs]
    return frame.select(pl.concat_str(parts, separator="\n")).to_series()


def rows_of_events(labelled: pl.DataFrame, shape: Shape, source: str, drops: Drops) -> pl.DataFrame:
    """Events joined with their outcomes, in arrival order.

    Their columns: `row_id, seq, ts, text, label, protected_*, subject, source`.
    """
    frame = labelled.select(
        pl.col("event_id").alias("row_id"),
        pl.col("seq").cast(pl.Int64),
        pl.col("ts"),
        shape.texts(labelled).alias("text"),
        *shape.learned(labelled, shape.label),
        *(as_levels(labelled[name]).alias(PROTECTED + name) for name in shape.protected),
        (pl.lit(None) if shape.subject is None else pl.col(shape.subject)).cast(pl.String).alias(SUBJECT),
        pl.lit(source).alias("source"),
    )
    return shape.keyed(_whole(frame, drops))


def rows_of_dataset(frame: pl.DataFrame, shape: Shape, name: str, drops: Drops) -> pl.DataFrame:
    """Rows of a registered dataset, with the spec's column names or the trainer's.

    Raises:
        DatasetError: text or label is not there under either name.
    """
    text, label = shape.names[:2]
    whole = all(i in frame.columns for i in shape.inputs)
    if text in frame.columns and not (whole and text in shape.inputs):  # an input of that name is one of several
        texts = frame[text].cast(pl.String)
    elif whole:
        texts = _of_dataset(frame, shape, name)
    else:
        raise DatasetError(_missing(name, frame, text, shape.inputs), field=text)
    named = (shape.label, label) if label in shape.inputs else (label, shape.label)
    found = next((c for c in named if c in frame.columns), None)
    if found is None or (found == shape.label and any(a not in frame.columns for a in shape.answers)):
        raise DatasetError(_missing(name, frame, label, (*shape.answers, shape.label)), field=label)
    if shape.answers and found == label and REJECTED not in frame.columns:
        raise DatasetError(_missing(name, frame, REJECTED, (*shape.answers, shape.label)), field=REJECTED)
    paired = shape.answers and found == label  # the pair as the trainer reads it
    rows = frame.select(
        pl.format("{}:{}", pl.lit(name), pl.int_range(pl.len())).alias("row_id"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("seq"),
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("ts"),
        texts.alias("text"),
        *(
            [frame[c].cast(pl.String).alias(n) for c, n in ((label, "label"), (REJECTED, REJECTED))]
            if paired
            else shape.learned(frame, found)
        ),
        *(
            (as_levels(frame[p]) if p in frame.columns else pl.lit(None, dtype=pl.String)).alias(PROTECTED + p)
            for p in shape.protected
        ),
        pl.lit(None, dtype=pl.String).alias(SUBJECT),
        pl.lit(f"dataset:{name}").alias("source"),
    )
    return shape.keyed(_whole(rows, drops))


def rows_of_golden(frame: pl.DataFrame, shape: Shape, name: str, drops: Drops) -> pl.DataFrame:
    """Rows of a golden dataset. Where pairs are learned, one with completions holds answers to be written."""
    if shape.answers and REJECTED not in frame.columns and KINDS["causal_lm"].columns[1] in frame.columns:
        shape = replace(shape, answers=())
    return rows_of_dataset(frame, shape, name, drops)


def _of_dataset(frame: pl.DataFrame, shape: Shape, name: str) -> pl.Series:
    try:
        return shape.texts(frame)
    except DataError as error:
        raise DatasetError(f"dataset {name}: {error.message}", **error.facts) from error


def _missing(name: str, frame: pl.DataFrame, wanted: str, others: Sequence[str]) -> str:
    return f"dataset {name} has neither column {wanted!r} nor {', '.join(others)}; its columns are {frame.columns}"


def _whole(frame: pl.DataFrame, drops: Drops) -> pl.DataFrame:
    complete = frame.filter(pl.col("text").str.strip_chars().str.len_chars() > 0, pl.col("label").is_not_null())
    reason = "neither answer is preferred, or no text" if REJECTED in frame.columns else "text or label missing"
    drops.add(reason, frame.height - complete.height)
    if REJECTED not in complete.columns:
        return complete
    pairs = complete.filter(pl.col(REJECTED).is_not_null(), pl.col(REJECTED) != pl.col("label"))
    drops.add("the two answers are equal, or one is missing", complete.height - pairs.height)
    return pairs
