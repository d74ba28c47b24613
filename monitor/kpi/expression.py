"""KPIs that a user writes as an expression over columns, such as `sum(cost_usd) / count(resolved == 'yes')`.

Python's parser reads the text, but nothing is evaluated as code: a walk over the tree turns a list of allowed nodes
into a Polars expression and refuses every other node with its position. An expression has two levels. Columns,
arithmetic and comparisons are values of a row. Aggregates turn them into values of all rows. The whole expression must
be a value of all rows.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from unicodedata import normalize

import numpy as np
import polars as pl

from core.errors import InvalidError
from monitor.kpi.base import KpiValue, undefined
from monitor.kpi.bounds import SEED, Resampled
from monitor.kpi.intervals import Z95
from monitor.kpi.texts import composed

ValueKind = Literal["number", "boolean", "text"]
BOOTSTRAP_SAMPLES: Final = 200
MAX_BOOTSTRAP_ROWS: Final = 10_000  # rows of one sample
MAX_CHARACTERS: Final = 500
MAX_DEPTH: Final = 30
_KINDS: Final[Mapping[str, ValueKind]] = {
    "number": "number", "boolean": "boolean", "category": "text", "text": "text", "string": "text",
}  # fmt: skip
_IF: Final = re.compile(r"""('[^']*'|"[^"]*")|\bif(?=\s*\()""")

AGGREGATES: Final[Mapping[str, tuple[ValueKind, Callable[[pl.Expr], pl.Expr]]]] = {
    "mean": ("number", lambda x: x.mean()),
    "sum": ("number", lambda x: pl.when(x.count() > 0).then(x.sum())),  # the sum of no value is null, not 0
    "min": ("number", lambda x: x.min()),
    "max": ("number", lambda x: x.max()),
    "median": ("number", lambda x: x.median()),
    "share": ("boolean", lambda x: x.mean()),
}
FUNCTIONS: Final[Mapping[str, Callable[[pl.Expr], pl.Expr]]] = {
    "abs": lambda x: x.abs(),
    "log": lambda x: x.log(),
    "exp": lambda x: x.exp(),
    "round": lambda x: x.round(0),
}
_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
KNOWN: Final = ", ".join(sorted([*AGGREGATES, *FUNCTIONS, "count", "quantile", "if", "column"]))


class ExpressionError(InvalidError):
    """An expression that is refused; `position` counts characters from 1."""

    code = "invalid_expression"

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"at character {position}: {reason}", position=position)


@dataclass(frozen=True)
class Expression:
    """A checked expression; `columns` are the columns it reads, `lowest` and `highest` the range of its value."""

    text: str
    columns: tuple[str, ...]
    compiled: pl.Expr
    lowest: float = -np.inf
    highest: float = np.inf

    def compute(self, frame: pl.DataFrame) -> KpiValue:
        """Value of the rows, with a bootstrap interval.

        Args:
            frame: the columns that the expression reads, shape (rows,).

        Returns:
            The value -+ 1.96 times its standard deviation over 200 seeded bootstrap samples of the rows, cut at the
            range of a share or a count. Texts are compared in Unicode's composed form (NFC). A sample has
            at most 10,000 rows; the deviation is then scaled by the root of their share. No interval if more than one
            sample in ten is undefined. None if there is no row, or if the result is not finite, for example after a
            division by zero. Aggregates leave missing values out.

        Source: Efron and Tibshirani (1993), section 13.3.
        """
        if frame.is_empty():
            return undefined("no rows")
        n = frame.height
        read = frame.select(self.columns or pl.int_range(pl.len()).alias("row"))
        read = read.with_columns(composed(column) for column in read if column.dtype == pl.String)
        value = self._value(read)
        if value is None:
            return undefined("a division by zero, or no finite value in the rows", n)
        size, random = min(n, MAX_BOOTSTRAP_ROWS), np.random.default_rng(SEED)
        found = [self._value(read[random.integers(0, n, size)]) for _ in range(BOOTSTRAP_SAMPLES)]
        values = np.array([x for x in found if x is not None])
        if len(values) < 0.9 * BOOTSTRAP_SAMPLES or n < 2:
            return KpiValue(value, None, n)
        error = float(values.std(ddof=1)) * (size / n) ** 0.5
        bounds = Resampled(value, error, n, self.lowest, self.highest)
        low, high = max(self.lowest, value - Z95 * error), min(self.highest, value + Z95 * error)
        return KpiValue(value, None, n, low, high, bounds=bounds)

    def _value(self, frame: pl.DataFrame) -> float | None:
        found = frame.select(self.compiled.cast(pl.Float64)).item()
        return float(found) if found is not None and np.isfinite(found) else None


def parse(text: str, columns: Mapping[str, str]) -> Expression:
    """Check an expression.

    Args:
        text: for example `sum(cost_usd) / count(resolved == 'yes')`.
        columns: declared columns with their types (number, boolean, category, text, string).

    Raises:
        ExpressionError: with the position, what is there and what is allowed.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS} characters; split it into several KPIs", MAX_CHARACTERS)
    # `if` is a keyword of Python; another word of two letters keeps every position as the user sees it.
    readable = _IF.sub(lambda m: m[1] or "fi", text)
    try:
        tree = ast.parse(readable, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = getattr(error, "offset", 1) or 1
        raise ExpressionError(
            "this is not an expression; write one such as sum(cost) / count(done == 'yes')", at
        ) from error
    walk = _Walk(columns)
    kind, whole, compiled = walk.value(tree.body, 0)
    if not whole:
        raise ExpressionError("this is a value of one row; aggregate it over all rows, for example with mean(...)", 1)
    if kind != "number":
        raise ExpressionError(f"the result is a {kind}, not a number", 1)
    return Expression(text, tuple(sorted(walk.used)), compiled, *_range(tree.body))


def _range(node: ast.expr) -> tuple[float, float]:
    """The range of a value that is certainly a share or a count; infinite for others."""
    match node:
        case ast.Call(func=ast.Name(id="share")):
            return 0.0, 1.0
        case ast.BinOp(
            left=ast.Call(func=ast.Name(id="count")), op=ast.Div(), right=ast.Call(func=ast.Name(id="count"), args=[])
        ):
            return 0.0, 1.0
        case ast.Call(func=ast.Name(id="count")):
            return 0.0, np.inf
    return -np.inf, np.inf


_Value = tuple[
    ValueKind, bool | None, pl.Expr
]  # kind; whether it is a value of all rows (None for a constant); expression


class _Walk:
    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = columns
        self.used: set[str] = set()

    def value(self, node: ast.expr, depth: int) -> _Value:
        if depth > MAX_DEPTH:
            raise _refused(node, f"nested deeper than {MAX_DEPTH}")
        match node:
            case ast.Constant(value=bool() as found):
                return "boolean", None, pl.lit(found)
            case ast.Constant(value=int() | float() as found) if abs(found) < 1e300:
                return "number", None, pl.lit(float(found))
            case ast.Constant(value=str() as found):
                return "text", None, pl.lit(normalize("NFC", found))
            case ast.Name(id=name):
                return self._column(node, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._want(operand, "number", depth)
                return "number", inner[1], -inner[2]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._want(operand, "boolean", depth)
                return "boolean", inner[1], ~inner[2]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                a, b = self._want(left, "number", depth), self._want(right, "number", depth)
                return "number", _level(node, a, b), _ARITHMETIC[type(op)](a[2], b[2])
            case ast.BoolOp(op=op, values=values):
                parts = [self._want(v, "boolean", depth) for v in values]
                join = pl.all_horizontal if isinstance(op, ast.And) else pl.any_horizontal
                return "boolean", _level(node, *parts), join([p[2] for p in parts])
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return self._compare(node, left, op, right, depth)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(node, name, args, depth)
        raise _refused(
            node, "this is not allowed here; use columns, numbers, 'text', + - * /, comparisons, and/or/not, functions"
        )

    def _column(self, node: ast.expr, name: str) -> _Value:
        if name not in self.columns:
            raise _refused(
                node, f"no column {name!r} is declared; the declared columns are {', '.join(sorted(self.columns))}"
            )
        if self.columns[name] not in _KINDS:
            raise _refused(node, f"column {name!r} is a {self.columns[name]}, which an expression cannot read")
        self.used.add(name)
        kind = _KINDS[self.columns[name]]
        column = pl.col(name)
        return kind, False, column.cast(pl.String) if kind == "text" else column

    def _want(self, node: ast.expr, kind: ValueKind, depth: int) -> _Value:
        found = self.value(node, depth + 1)
        if found[0] == kind:
            return found
        if kind == "number" and found[0] == "boolean":  # true counts 1
            return "number", found[1], found[2].cast(pl.Float64)
        raise _refused(node, f"this must be a {kind}, but it is a {found[0]}")

    def _compare(self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr, depth: int) -> _Value:
        a, b = self.value(left, depth + 1), self.value(right, depth + 1)
        if a[0] != b[0]:
            raise _refused(node, f"a {a[0]} is compared with a {b[0]}; both sides must be of one kind")
        if a[0] != "number" and not isinstance(op, ast.Eq | ast.NotEq):
            raise _refused(node, f"a {a[0]} has no order; use == or !=")
        return "boolean", _level(node, a, b), _COMPARISONS[type(op)](a[2], b[2])

    def _call(self, node: ast.Call, name: str, args: list[ast.expr], depth: int) -> _Value:
        if name == "column" and len(args) == 1 and isinstance(args[0], ast.Constant):
            return self._column(node, str(args[0].value))
        if name in FUNCTIONS and len(args) == 1:
            _, whole, found = self._want(args[0], "number", depth)
            return "number", whole, FUNCTIONS[name](found)
        if name == "fi" and len(args) == 3:
            return self._if(node, args, depth)
        if name == "count" and not args:
            return "number", True, pl.len().cast(pl.Float64)
        if name == "count" and len(args) == 1:
            kind, _, found = self._of_rows(args[0], None, depth)
            return "number", True, (found.sum() if kind == "boolean" else found.count()).cast(pl.Float64)
        if name == "quantile" and len(args) == 2:
            return self._quantile(args, depth)
        if name in AGGREGATES and len(args) == 1:
            kind, compute = AGGREGATES[name]
            found = self._of_rows(args[0], kind, depth)[2]
            return "number", True, compute(found.cast(pl.Float64)).cast(pl.Float64)
        written = "if" if name == "fi" else name
        if name in {*AGGREGATES, *FUNCTIONS, "count", "quantile", "fi", "column"}:
            raise _refused(node, f"{written} does not accept {len(args)} arguments of this form")
        raise _refused(node, f"there is no function {written!r}; use one of {KNOWN}")

    def _if(self, node: ast.Call, args: list[ast.expr], depth: int) -> _Value:
        condition = self._want(args[0], "boolean", depth)
        then, other = self.value(args[1], depth + 1), self.value(args[2], depth + 1)
        if then[0] != other[0]:
            raise _refused(node, f"if returns a {then[0]} or a {other[0]}; both must be of one kind")
        level = _level(node, condition, then, other)
        return then[0], level, pl.when(condition[2]).then(then[2]).otherwise(other[2])

    def _quantile(self, args: list[ast.expr], depth: int) -> _Value:
        found = self._of_rows(args[0], "number", depth)[2]
        match args[1]:
            case ast.Constant(value=int() | float() as share) if 0 <= share <= 1 and not isinstance(share, bool):
                return "number", True, found.cast(pl.Float64).quantile(float(share), interpolation="linear")
        raise _refused(args[1], "the second argument of quantile must be a number from 0 to 1, such as 0.95")

    def _of_rows(self, node: ast.expr, kind: ValueKind | None, depth: int) -> _Value:
        found = self.value(node, depth + 1) if kind is None else self._want(node, kind, depth)
        if found[1] is not False:
            what = "a value of all rows" if found[1] else "a constant"
            raise _refused(node, f"this is {what}; an aggregate needs a value of each row, such as a column")
        return found


def _level(node: ast.expr, *parts: _Value) -> bool | None:
    """False for values of rows, True for values of all rows, None for constants."""
    levels = {whole for _, whole, _ in parts if whole is not None}
    if len(levels) == 2:
        raise _refused(
            node, "this mixes a value of one row with a value of all rows; put the column inside an aggregate"
        )
    return levels.pop() if levels else None


def _refused(node: ast.expr, reason: str) -> ExpressionError:
    return ExpressionError(reason, node.col_offset + 1)
