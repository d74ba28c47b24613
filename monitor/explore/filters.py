"""What somebody asks of a model's events: conditions on columns, outcomes and times, as an address holds them.

A condition is `column:operator` or `column:operator:value`, such as `amount:ge:100`, `channel:in:web,app` or
`text:contains:refund`. No name of a column has a colon.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from core.clock import check_period, written_time
from core.errors import ForbiddenError, InvalidError
from core.text import unfit
from governance.access.roles import Permission
from monitor.events.columns import EVENT_FIELDS
from monitor.levels import level
from monitor.spec.columns import Column
from monitor.spec.model import ModelSpec

Operator = Literal[
    "eq", "ne", "in", "lt", "le", "gt", "ge", "between", "contains", "matches", "missing", "present",
]  # fmt: skip
Kind = Literal["number", "boolean", "category", "text", "string", "time", "list", "subject"]
Outcome = Literal["known", "unknown"]
Answer = Literal["right", "wrong"]
Sort = Literal["newest", "oldest"]

OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
WORDS: Final[Mapping[Operator, str]] = {
    "eq": "is", "ne": "is not", "in": "is one of", "lt": "is below", "le": "is at most", "gt": "is above",
    "ge": "is at least", "between": "is between", "contains": "contains", "matches": "matches the pattern",
    "missing": "is missing", "present": "is there",
}  # fmt: skip
_ORDERED: Final = ("eq", "ne", "in", "lt", "le", "gt", "ge", "between", "missing", "present")
_TEXT: Final = ("eq", "ne", "in", "contains", "matches", "missing", "present")
FITTING: Final[Mapping[Kind, tuple[Operator, ...]]] = {
    "number": _ORDERED, "time": _ORDERED, "boolean": ("eq", "ne", "missing", "present"), "category": _TEXT,
    "text": _TEXT, "string": _TEXT, "list": ("missing", "present"), "subject": ("eq", "ne", "in", "missing", "present"),
}  # fmt: skip
MOST_CONDITIONS: Final = 20
MOST_VALUES: Final = 200  # of one condition
MOST_CHARS: Final = 500  # of one value
LISTED: Final = 200  # names of columns that an error lists
_OF_DELTA: Final[Mapping[str, Kind]] = {
    "string": "string", "double": "number", "long": "number", "boolean": "boolean", "timestamp": "time",
}  # fmt: skip
_OWN: Final = ("event_id", "ts", "version", "trace_id", "span_id", "received_at")
_TRUTH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class SearchColumn:
    """A column that can be searched."""

    name: str
    kind: Kind
    outcome: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `values` are numbers, truth values, times or texts, as the column has them."""

    column: SearchColumn
    operator: Operator
    values: tuple[Any, ...] = ()

    @property
    def written(self) -> str:
        """As an address holds it."""
        if not self.values:
            return f"{self.column.name}:{self.operator}"
        texts = [_as_text(value) for value in self.values]
        several = self.operator in ("in", "between")
        plain = several and all(t and "," not in t and not t.startswith("[") and t == t.strip() for t in texts)
        value = ",".join(texts) if plain else json.dumps(texts, ensure_ascii=False) if several else texts[0]
        return f"{self.column.name}:{self.operator}:{value}"

    @property
    def words(self) -> str:
        """As a person reads it."""
        joint = " and " if self.operator == "between" else ", "
        value = joint.join(_as_text(v) for v in self.values)
        return f"{self.column.name} {WORDS[self.operator]} {value}".rstrip()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events somebody wants to see; without anything, all of them."""

    conditions: tuple[Condition, ...] = ()
    outcome: Outcome | None = None
    answer: Answer | None = None
    from_ts: datetime | None = None
    to_ts: datetime | None = None

    @property
    def asks_outcomes(self) -> bool:
        return self.outcome is not None or self.answer is not None or any(c.column.outcome for c in self.conditions)

    @property
    def is_period(self) -> bool:
        """Whether it asks for nothing but a period of time."""
        return not self.conditions and self.outcome is None and self.answer is None

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(c.column.name for c in self.conditions)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """As the parameters of an address."""
        found = [("where", c.written) for c in self.conditions]
        found += [(name, value) for name in ("outcome", "answer") if (value := getattr(self, name)) is not None]
        bounds = (("from", self.from_ts), ("to", self.to_ts))
        return found + [(name, _as_text(at)) for name, at in bounds if at is not None]

    def without(self, index: int) -> "EventFilter":
        """The same, but for one condition."""
        return replace(self, conditions=(*self.conditions[:index], *self.conditions[index + 1 :]))


def search_columns(spec: ModelSpec, stored: Mapping[str, str]) -> dict[str, SearchColumn]:
    """By name, the columns that can be searched: those of the spec, and those that the tables hold from earlier ones.

    Args:
        stored: name and Delta type of each column of the table of events.
    """
    found = {name: SearchColumn(name, _OF_DELTA[EVENT_FIELDS[name]]) for name in _OWN}
    for name, column in spec.columns.items():
        found[name] = SearchColumn(name, _kind(column), column.role == "outcome")
    for name, kind in stored.items():
        if name not in found and name not in ("date", "seq"):
            found[name] = SearchColumn(name, _OF_DELTA.get(kind, "list"))
    return found


def _kind(column: Column) -> Kind:
    if column.role == "subject":
        return "subject"
    match column.type:
        case "vector" | "texts":
            return "list"
        case kind:
            return kind


def event_filter(
    columns: Mapping[str, SearchColumn], where: Sequence[str] = (), *, withheld: Collection[str] = (),
    outcome: str | None = None, answer: str | None = None, from_ts: datetime | None = None,
    to_ts: datetime | None = None, judged: bool = True,
) -> EventFilter:  # fmt: skip
    """A filter as it was written.

    Args:
        withheld: columns whose values the caller may not read, so that nobody finds them out by searching.
        judged: whether answers are right or wrong: the model classifies, and has an outcome to compare with.

    Raises:
        InvalidError: a condition cannot be read, or the period has no beginning before its end.
        ForbiddenError: a condition is on a column of `withheld`.
    """
    check_period(from_ts, to_ts)
    if len(where) > MOST_CONDITIONS:
        raise InvalidError(
            f"where is given {len(where)} times; give at most {MOST_CONDITIONS} conditions", field="where"
        )
    conditions = tuple(condition(columns, text, withheld) for text in where)
    for field, value, known in (("outcome", outcome, get_args(Outcome)), ("answer", answer, get_args(Answer))):
        if value is not None and value not in known:
            raise InvalidError(f"{field} is {value[:60]!r}; write {' or '.join(known)}", field=field, value=value[:200])
    if (outcome or answer) and not any(c.outcome for c in columns.values()):
        raise InvalidError(
            "the model declares no outcome, so none is known; leave outcome and answer out", field="outcome"
        )
    if answer and not judged:
        raise InvalidError(
            "answer: only answers of a classification are right or wrong, and only where the spec has an outcome to "
            "compare them with; filter the prediction and the outcome instead", field="answer", value=answer,
        )  # fmt: skip
    return EventFilter(conditions, outcome, answer, from_ts, to_ts)  # type: ignore[arg-type]


def condition(columns: Mapping[str, SearchColumn], text: str, withheld: Collection[str] = ()) -> Condition:
    """One condition as it was written: `column:operator:value`.

    Raises:
        InvalidError: it cannot be read, or names no column.
        ForbiddenError: its column is withheld from the caller.
    """
    name, _, rest = text.partition(":")
    operator, _, value = rest.partition(":")
    if reason := unfit(text):
        raise _wrong(text, f"the condition {reason}")
    if name not in columns:
        known = sorted(columns)
        more = f" and {len(known) - LISTED:,} more" if len(known) > LISTED else ""
        raise InvalidError(
            f"where names the column {name[:100]!r}, which this model does not have; it has "
            f"{', '.join(known[:LISTED])}{more}",
            field="where", value=text[:200], columns=known[:LISTED],
        )  # fmt: skip
    column = columns[name]
    if operator not in FITTING[column.kind]:
        raise _wrong(
            text, f"{operator[:40]!r} is no comparison for {name}, a {column.kind}; write one of "
            f"{', '.join(FITTING[column.kind])}, as in {name}:{FITTING[column.kind][0]}:…"
        )  # fmt: skip
    if name in withheld:
        raise ForbiddenError(
            f"{name} is a protected column, and a search for its values would tell them; that needs the permission "
            f"{Permission.PROTECTED_READ.value}", permission=Permission.PROTECTED_READ.value, field="where",
        )  # fmt: skip
    return Condition(column, operator, _values(column, operator, value, text))


def _values(column: SearchColumn, operator: str, value: str, text: str) -> tuple[Any, ...]:
    if operator in ("missing", "present"):
        if value:
            raise _wrong(text, f"{operator} takes no value; write {column.name}:{operator}")
        return ()
    if value == "":
        raise _wrong(text, f"there is no value; write {column.name}:{operator}:VALUE, or {column.name}:missing")
    texts = _several(value, text) if operator in ("in", "between") else [value]
    if not texts:
        raise _wrong(text, f"there is no value between its commas; write {column.name}:{operator}:A,B")
    if operator == "between" and len(texts) != 2:
        raise _wrong(text, f"between takes two values; write {column.name}:between:LOW,HIGH")
    if len(texts) > MOST_VALUES:
        raise _wrong(text, f"it has {len(texts)} values; give at most {MOST_VALUES}")
    if long := next((t for t in texts if len(t) > MOST_CHARS), None):
        raise _wrong(text, f"a value has {len(long)} characters; give at most {MOST_CHARS}")
    if operator == "matches":
        _check_pattern(value, text)
    found = tuple(value if operator == "contains" else _value(column, value, text) for value in texts)
    if operator == "between" and found[0] > found[1]:
        raise _wrong(text, f"{texts[0]} lies above {texts[1]}; write the lower value first")
    return found


def _several(value: str, text: str) -> list[str]:
    """Values with commas between them, or a JSON list where a value has a comma."""
    if not value.startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise _wrong(text, 'its value starts as a JSON list and is none; write a,b or ["a","b"]') from error
    if not isinstance(found, list) or not found or not all(isinstance(part, str | int | float) for part in found):
        raise _wrong(text, 'its list holds something else than texts and numbers; write ["a","b"]')
    return [part if isinstance(part, str) else json.dumps(part) for part in found]


def _value(column: SearchColumn, value: str, text: str) -> Any:
    if column.kind == "number":
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _wrong(text, f"{value[:40]!r} is no finite number")
        return number
    if column.kind == "boolean":
        if (truth := _TRUTH.get(value.lower())) is None:
            raise _wrong(text, f"{value[:40]!r} is no truth value; write true or false")
        return truth
    if column.kind == "time":
        try:
            at = written_time(value)
            if at.tzinfo is None:
                raise ValueError
            return at.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise _wrong(
                text, f"{value[:40]!r} is no time with its zone; write one such as 2026-01-31T08:00:00Z"
            ) from error
    if column.kind == "category":
        return level(value) or value
    return value


def _check_pattern(pattern: str, text: str) -> None:
    import polars as pl

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        said = [line for line in str(error).splitlines() if line.startswith(("error: ", "regex error: "))]
        reason = said[-1].removeprefix("regex ").removeprefix("error: ")[:200] if said else "it cannot be read"
        raise _wrong(text, f"{pattern[:60]!r} is no regular expression: {reason}") from error


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _wrong(text: str, reason: str) -> InvalidError:
    return InvalidError(f"where={text[:100]}: {reason}", field="where", value=text[:200])
