"""Values of every physical type, and by declared type the value that must be stored, written by hand.

None of this is computed by the code under test. Source of the expectations: docs/ingest.md, "Equal and missing".
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

REFUSED: Final = "refused"  # the column cannot be of the declared type, whatever its values
MISFIT: Final = "misfit"  # the row is rejected; a file in which no value of a column fits is refused as a whole
NONE_FITS: Final = (MISFIT, MISFIT, None)
NAN: Final = float("nan")
UTC: Final = dt.UTC
Expected = Sequence[Any] | str


@dataclass(frozen=True)
class Case:
    """One column.

    Attributes:
        values: as Arrow and Parquet hold it.
        category, number, boolean: what is stored in a column of that type, `MISFIT` where the row is rejected;
            `REFUSED` where the file or body is.
        text: what is stored in a column of type text or string; by default the same as in a category.
        csv: the cells of a CSV file; None if there is no such file. Its levels are those of `category`.
        json: the values of JSON rows; None if JSON has no such value.
    """

    values: Any
    category: Expected
    number: Expected = REFUSED
    boolean: Expected = REFUSED
    text: Expected | None = None
    csv: Sequence[str] | None = None
    json: Sequence[str] | None = None

    def expected(self, kind: str) -> Expected:
        found: Expected | None = getattr(self, "text" if kind == "string" else kind)
        return self.category if found is None else found


def _integers(kind: pa.DataType) -> Case:
    return Case(
        pa.array([1, 0, None], kind),
        category=["1", "0", None],
        number=[1.0, 0.0, None],
        boolean=[True, False, None],
        csv=["1", "0", ""],
        json=["1", "0", "null"],
    )


def _floats(kind: pa.DataType) -> Case:
    return Case(
        pa.array([1.0, -0.0, NAN], kind),
        category=["1", "0", None],
        number=[1.0, 0.0, None],
        boolean=[True, False, None],
        csv=["1.0", "-0.0", ""],
        json=["1.0", "-0.0", "NaN"],
    )


def _strings(kind: pa.DataType) -> Case:
    return Case(
        pa.array(["red", "é", None], kind),
        category=["red", "é", None],
        number=NONE_FITS,
        boolean=NONE_FITS,
        csv=["red", "é", ""],
        json=['"red"', '"\\u00e9"', "null"],
    )


BEYOND: Final = 2**53 + 1
CASES: Final[Mapping[str, Case]] = {
    **{f"int{n}": _integers(getattr(pa, f"int{n}")()) for n in (8, 16, 32, 64)},
    **{f"uint{n}": _integers(getattr(pa, f"uint{n}")()) for n in (8, 16, 32, 64)},
    **{f"float{n}": _floats(getattr(pa, f"float{n}")()) for n in (16, 32, 64)},
    "int64 beyond 2^53": Case(
        pa.array([BEYOND, -BEYOND, None]),
        boolean=NONE_FITS,
        category=["9007199254740993", "-9007199254740993", None],
        number=[9007199254740992.0, -9007199254740992.0, None],
        csv=["9007199254740993", "-9007199254740993", ""],
        json=["9007199254740993", "-9007199254740993", "null"],
    ),
    "uint64 beyond int64": Case(
        pa.array([2**64 - 1, 0, None], pa.uint64()),
        boolean=[MISFIT, False, None],
        category=["18446744073709551615", "0", None],
        number=[18446744073709551616.0, 0.0, None],
        csv=["18446744073709551615", "0", ""],
        json=["18446744073709551615", "0", "null"],
    ),
    "float64 of large integers": Case(
        pa.array([1e16, 2.0**60, 1e21]),
        boolean=[MISFIT] * 3,
        category=["10000000000000000", "1152921504606846976", "1e+21"],
        number=[1e16, 2.0**60, 1e21],
        json=["1e16", "1152921504606846976.0", "1e21"],
    ),
    "float64 with a fraction": Case(
        pa.array([0.5, 1e-7, -2.25]),
        boolean=[MISFIT] * 3,
        category=["0.5", "1e-7", "-2.25"],
        number=[0.5, 1e-7, -2.25],
        csv=["0.5", "1e-7", "-2.25"],
        json=["0.50", "1E-7", "-2.25"],
    ),
    "float32 with a fraction": Case(
        pa.array([0.1, 0.25, None], pa.float32()),
        boolean=NONE_FITS,
        category=["0.1", "0.25", None],
        number=[0.10000000149011612, 0.25, None],
    ),
    "decimal of whole numbers": Case(
        pa.array([Decimal("1.00"), Decimal("0.00"), None], pa.decimal128(10, 2)),
        category=["1", "0", None],
        number=[1.0, 0.0, None],
        boolean=[True, False, None],
        csv=["1.00", "0.00", ""],
    ),
    "decimal with a fraction": Case(
        pa.array([Decimal("1.50"), Decimal("10.25"), None], pa.decimal128(10, 2)),
        boolean=NONE_FITS,
        category=["1.5", "10.25", None],
        number=[1.5, 10.25, None],
    ),
    "decimal beyond 2^53": Case(
        pa.array([Decimal(BEYOND), Decimal(10**30), None], pa.decimal128(38, 0)),
        boolean=NONE_FITS,
        category=["9007199254740993", "1" + "0" * 30, None],
        number=[9007199254740992.0, 1e30, None],
    ),
    "decimal of 256 bits": Case(
        pa.array([Decimal("1.50"), Decimal(1), Decimal(10**60)], pa.decimal256(76, 2)),
        boolean=[MISFIT, True, MISFIT],
        category=["1.5", "1", "1" + "0" * 60],
        number=[1.5, 1.0, 1e60],
    ),
    "dictionary of decimals of 256 bits": Case(
        pa.array([Decimal("1.50"), Decimal(1), None], pa.decimal256(50, 2)).dictionary_encode(),
        category=["1.5", "1", None],
        number=[1.5, 1.0, None],
        boolean=[MISFIT, True, None],
    ),
    "bool": Case(
        pa.array([True, False, None]),
        category=["true", "false", None],
        boolean=[True, False, None],
        csv=["True", "False", ""],
        json=["true", "false", "null"],
    ),
    "string": _strings(pa.string()),
    "large_string": _strings(pa.large_string()),
    "string_view": _strings(pa.string_view()),
    "dictionary": Case(
        pa.array(["red", "blue", None]).dictionary_encode(),
        number=NONE_FITS,
        boolean=NONE_FITS,
        category=["red", "blue", None],
        csv=["red", "blue", ""],
    ),
    "dictionary of integers": Case(
        pa.array([1, 0, 1]).dictionary_encode(),
        category=["1", "0", "1"],
        number=[1.0, 0.0, 1.0],
        boolean=[True, False, True],
    ),
    "dictionary of floats": Case(
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array([1.0, NAN])),
        category=["1", None, None],
        number=[1.0, None, None],
        boolean=[True, None, None],
    ),
    "strings of numbers": Case(
        pa.array(["1", "1.0", "2.00"]),
        boolean=[True, True, MISFIT],
        category=["1", "1", "2"],
        text=["1", "1.0", "2.00"],
        number=[1.0, 1.0, 2.0],
        csv=["1", "1.0", "2.00"],
    ),
    "strings that only look like numbers": Case(
        pa.array(["1.10", "007", "1e3"]),
        boolean=[MISFIT] * 3,
        category=["1.10", "007", "1e3"],
        number=[1.1, 7.0, 1000.0],
        csv=["1.10", "007", "1e3"],
    ),
    "texts without a value": Case(
        pa.array(["", " ", "NaN"]),
        category=[None, None, None],
        text=["", " ", "NaN"],
        number=[None, None, None],
        boolean=[None, None, None],
    ),
    "composed and decomposed": Case(
        pa.array(["Zu\u0308rich", "Z\u00fcrich", "\u1112\u1161\u11ab\u1100\u1173\u11af"]),
        number=[MISFIT] * 3,
        boolean=[MISFIT] * 3,
        category=["Z\u00fcrich", "Z\u00fcrich", "\ud55c\uae00"],
        text=["Zu\u0308rich", "Z\u00fcrich", "\u1112\u1161\u11ab\u1100\u1173\u11af"],
        csv=["Zu\u0308rich", "Z\u00fcrich", "\u1112\u1161\u11ab\u1100\u1173\u11af"],
        json=['"Zu\u0308rich"', '"Z\\u00fcrich"', '"\u1112\u1161\u11ab\u1100\u1173\u11af"'],
    ),
    "words of truth": Case(
        pa.array(["True", "FALSE", "true"]),
        number=[MISFIT] * 3,
        category=["true", "false", "true"],
        text=["True", "FALSE", "true"],
        boolean=[True, False, True],
        csv=["True", "FALSE", "true"],
    ),
    "date32": Case(
        pa.array([dt.date(2026, 3, 1), dt.date(1969, 12, 31), None]),
        category=["2026-03-01", "1969-12-31", None],
        csv=["2026-03-01", "1969-12-31", ""],
        json=['"2026-03-01"', '"1969-12-31"', "null"],
    ),
    "timestamps of whole days": Case(
        pa.array([dt.datetime(2026, 3, 1), dt.datetime(2026, 3, 2), None], pa.timestamp("ns")),
        category=["2026-03-01", "2026-03-02", None],
        csv=["2026-03-01", "2026-03-02", ""],
    ),
    "timestamps": Case(
        pa.array([dt.datetime(2026, 3, 1, 12), dt.datetime(2026, 3, 1, 12, 0, 0, 500_000), None], pa.timestamp("us")),
        category=["2026-03-01T12:00:00", "2026-03-01T12:00:00.500", None],
    ),
    "timestamps with a zone": Case(
        pa.array([dt.datetime(2026, 3, 1, 12, tzinfo=UTC), None, None], pa.timestamp("ms", "Europe/Berlin")),
        category=["2026-03-01T12:00:00Z", None, None],
    ),
    "timestamps beyond the calendar": Case(
        pa.array([2**62, 0, None], pa.timestamp("ms")), category=[MISFIT, "1970-01-01", None]
    ),
    "seconds beyond the calendar": Case(
        pa.array([-(10**13), 0, None], pa.timestamp("s", "UTC")), category=[MISFIT, "1970-01-01T00:00:00Z", None]
    ),
    "dates beyond the calendar": Case(
        pa.array([2**31 - 1, 0, None], pa.int32()).cast(pa.date32()).dictionary_encode(),
        category=[MISFIT, "1970-01-01", None],
    ),
    "time of day": Case(
        pa.array([dt.time(12, 30), dt.time(12, 30, 0, 4), dt.time(23, 59, 59, 500_000)]),
        category=["12:30:00", "12:30:00.000004", "23:59:59.500"],
    ),
    "null": Case(
        pa.nulls(3),
        category=[None] * 3,
        number=[None] * 3,
        boolean=[None] * 3,
        json=["null"] * 3,
    ),
    "binary": Case(pa.array([b"a", b"b", None]), category=REFUSED),
    "struct": Case(pa.array([{"x": 0}, {"x": 1}, None]), category=REFUSED, json=['{"x": 0}', '{"x": 1}', "null"]),
    "list": Case(pa.array([["b"], [], None]), category=REFUSED, json=['["b"]', "[]", "null"]),
    "duration": Case(pa.array([1, 2, None], pa.duration("s")), category=REFUSED),
}
