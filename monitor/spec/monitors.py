"""What is monitored: windows, the false-alarm budget, drift, KPIs and fairness metrics."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import combinations
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from monitor.spec.attribution import AttributionMonitor
from monitor.spec.base import KeyProblem, SpecPart, Written, is_new
from monitor.spec.baseline import MAX_ROWS, MIN_ROWS
from monitor.spec.duration import LONGEST, Duration, duration
from monitor.spec.flips import Flips
from monitor.spec.positive import ClassName, PositiveClass
from monitor.spec.times import DAY

MAX_ALARMS: Final = 1_000_000  # per period
MIN_ALPHA: Final = 1e-6
Compare = Literal["between", "overall", "reference", "best"]  # as in monitor.fairness, whose catalogue loads numpy
LONGEST_WINDOW: Final = timedelta(days=3653)  # half of the span in which times of events are plausible


def _change_text(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?( ?std)?", text.strip()):
        raise ValueError(
            f"{text!r} is not a change; write standard deviations such as `0.05 std`, or a share of rows such as `0.02`"
        )
    return text


class RowWindow(SpecPart):
    """Windows of a fixed number of rows, in place of time windows."""

    rows: int = Field(
        ge=MIN_ROWS, description="rows in each window; windows follow each other without a gap", examples=[500],
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip


class AlphaBudget(SpecPart):
    """A false-alarm budget per window, in place of one per period."""

    alpha: float = Field(
        gt=0, lt=1, description="probability of a false alarm in one window, all monitors together", examples=[0.01],
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip


def _number_as_text(value: Any) -> Any:
    """YAML reads `0.02` as a number."""
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Change = Annotated[
    str,
    AfterValidator(_change_text),
    BeforeValidator(_number_as_text),
    Written("change", "0.05 std"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^\s*\d+(\.\d+)?( ?std)?\s*$"}, {"type": "number", "minimum": 0}]}
    ),
]


class Drift(SpecPart):
    """Which columns are watched for drift, by which rule, and how large a change must be to matter."""

    columns: Literal["all"] | tuple[str, ...] = Field(
        "all",
        description="the columns that are watched; more columns need a larger change to alarm, for they share "
        "one budget",
        examples=["[amount, channel]"],
    )
    rule: Literal["blocks", "row_tests", "thresholds"] = Field(
        "blocks",
        description="`blocks` ranks blocks of time and holds for dependent rows; `row_tests` assumes that rows are "
        "independent; `thresholds` applies fixed limits, without a false-alarm rate",
    )
    thresholds: Mapping[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="for rule thresholds: the limit of each statistic",
        examples=["{psi: 0.2}"],
        json_schema_extra={"unit": "the statistic's own"},
    )
    floors: Mapping[str, Change] = Field(
        default_factory=dict,
        description="by column: the smallest change that may alarm; smaller ones are named and do not alarm",
        examples=["{amount: 0.05 std, channel: 0.02}"],
        json_schema_extra={"unit": "standard deviations, or a share of rows"},
    )
    must_see: Mapping[str, Change] = Field(
        default_factory=dict,
        description="by column: a change that must not be missed; a window with too few rows to detect it is "
        "`not_enough_data`",
        examples=["{amount: 0.5 std}"],
        json_schema_extra={"unit": "standard deviations, or a share of rows"},
    )
    short_reference: bool = Field(
        False, description="accept a reference of 4 windows instead of 8, at the cost of more false alarms"
    )

    @model_validator(mode="after")
    def _rule(self) -> "Drift":
        if (self.rule == "thresholds") != bool(self.thresholds):
            raise ValueError(
                f"rule is {self.rule}; `thresholds` and `rule: thresholds` go together, give both or neither"
            )
        return self


class KpiRule(SpecPart):
    """One KPI, from the catalogue or with an expression, and its limits."""

    metric: str = Field(
        min_length=1, max_length=64, description="a KPI of the [catalogue](catalogue.md), or a name for your own",
        examples=["accuracy"],
    )  # fmt: skip
    column: str | None = Field(
        None, description="for a KPI of one column, such as latency: the column", examples=["latency_ms"]
    )
    expression: str | None = Field(
        None, description="for a KPI of your own: its value as an expression over columns",
        examples=["sum(cost_usd) / count(resolved == 'yes')"],
    )  # fmt: skip
    unit: str | None = Field(
        None, max_length=32, description="for a KPI with an expression: its unit, for display", examples=["EUR"]
    )
    min: float | None = Field(
        None, description="a smaller value alarms", examples=[0.85], json_schema_extra={"unit": "the KPI's own"}
    )
    max: float | None = Field(
        None, description="a larger value alarms", examples=[2000], json_schema_extra={"unit": "the KPI's own"}
    )
    min_rows: int = Field(
        30,
        ge=1,
        description="the KPI is judged against its limits from this many rows on, and only shown before; at most "
        "the rows of a window",
        json_schema_extra={"unit": "rows"},
    )


class FairnessRule(SpecPart):
    """One fairness metric, the protected columns that form its groups, and its limits."""

    metric: str = Field(
        description="a fairness metric of the [catalogue](catalogue.md)", examples=["equalized_odds_difference"]
    )
    by: tuple[str, ...] = Field(
        min_length=1, description="columns with role protected whose values are the groups", examples=["[age_band]"]
    )
    max: float | None = Field(
        None,
        description="a larger difference between groups alarms; a ratio has `min`",
        examples=[0.1],
        json_schema_extra={"unit": "that of the metric"},
    )
    min: float | None = Field(
        None, description="for a ratio: a smaller one alarms", examples=[0.8], json_schema_extra={"unit": "0..1"}
    )
    given: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value,  # a spec without it keeps its digest
        description="columns with role input or segment that may rightly set groups apart: an alert says what is left "
        "of the difference with them held fixed, and whether it turns; see "
        "[causes](fairness.md#where-a-disparity-comes-from)",
        examples=["[income_band, purpose]"],
    )  # fmt: skip
    min_group: int = Field(
        30, ge=1, description="groups with fewer rows are shown with their rates and intervals, and not compared",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    positive: ClassName | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="the class whose rates are compared; as `positive` of the prediction. With more than two classes, "
        "this one against the rest; without it, each, and the worst one counts",
        examples=["approved"],
    )  # fmt: skip
    compare: Compare | None = Field(
        None, exclude_if=lambda value: value is None,
        description="what groups are compared with: `between` the two furthest apart, the `overall` rate of all rows, "
        "a named `reference` group, or the `best` group; without it, as the [catalogue](catalogue.md) says",
        examples=["overall"],
    )  # fmt: skip
    reference: str | None = Field(
        None, min_length=1, exclude_if=lambda value: value is None,
        description="with `compare: reference`, and required there: the group that others are compared with; of an "
        "intersection as it is shown, `sex=m & race=white`",
        examples=["m"],
    )  # fmt: skip
    depth: int = Field(
        1, ge=1, le=5, exclude_if=lambda value: value == 1,
        description="how many of the columns are crossed: 2 compares the groups of each column and those of every pair",
        examples=[2],
    )  # fmt: skip

    @property
    def name(self) -> str:
        """The metric as its values are stored: with what groups are compared with, if the rule says so."""
        return self.metric if self.compare is None else f"{self.metric}_to_{self.compare}"

    @property
    def groupings(self) -> tuple[tuple[str, ...], ...]:
        """Each column alone, then every intersection of up to `depth` of them."""
        return tuple(found for size in range(1, self.depth + 1) for found in combinations(self.by, size))

    @model_validator(mode="after")
    def _compared(self) -> "FairnessRule":
        if (self.compare == "reference") != (self.reference is not None):
            have = f"compare is {self.compare or 'absent'} and reference is {self.reference or 'absent'}"
            raise KeyProblem(("reference",), f"{have}; `compare: reference` and a `reference` group go together")
        if self.depth > len(set(self.by)):
            raise KeyProblem(("depth",), f"is {self.depth}, and `by` names {len(set(self.by))}; give at most that")
        return self


def _check_lengths(windows: Sequence[str]) -> None:
    """Refuse lengths whose windows cannot be made of the same blocks of time.

    Raises:
        ValueError: two lengths are equal, or one is not a whole number of blocks.
    """
    lengths = {text: duration(text) for text in windows}
    if len(set(lengths.values())) < len(windows):
        raise ValueError(f"is [{', '.join(windows)[:100]}], where a length appears twice; leave one out")
    shortest = min(windows, key=lengths.__getitem__)
    block = min(DAY, lengths[shortest])
    for text, length in lengths.items():
        if length > LONGEST_WINDOW:
            raise ValueError(
                f"has {text}; a window has at most {LONGEST_WINDOW.days}d, ten years, because a longer one is never "
                "compared with another: write a shorter one, such as `30d`"
            )
        if length % block or min(DAY, length) % block:
            unit = shortest if block < DAY else "1d"
            raise ValueError(
                f"is [{', '.join(windows)[:100]}]; a window of {text} is not made of whole blocks of {unit}: write "
                f"lengths that are multiples of {'the shortest, which divides a day' if block < DAY else 'a day'}"
            )


class Monitors(SpecPart):
    """What is computed for every window, and how often it may raise a false alarm."""

    windows: Literal["auto"] | tuple[Duration, ...] | RowWindow = Field(
        "auto",
        description="the lengths of the windows that are judged, at most ten years, or one number of rows; each length "
        "takes its share of the budget. `auto`: one length that holds about 200 rows, chosen from the traffic and "
        "again when its rate changes by more than a factor of four",
        examples=["auto", "[1d, 7d]", "{rows: 500}"],
    )
    false_alarms: str | AlphaBudget = Field(
        "1 per 30d",
        description="how many false alarms the model may cause, all monitors, columns and lengths together: a "
        "number per "
        "period, or a probability per window; fewer false alarms need larger changes or more rows",
        examples=["1 per 30d", "{alpha: 0.01}"],
    )
    phases: Literal["weekday_weekend", "day_of_week", "hour_of_day"] | None = Field(
        None,
        description="seasonality of the traffic: windows are compared with the reference within each phase, "
        "which needs a "
        "reference that has enough of each",
    )
    drift: Drift = Field(Drift(), description="which columns are watched for drift, and how")
    estimate: bool = Field(True, description="estimate KPIs before outcomes arrive; needs a score, or numbers")
    kpi: tuple[KpiRule, ...] = Field((), description="what is measured in every window, and its limits")
    fairness: tuple[FairnessRule, ...] = Field((), description="how groups of people are compared, and the limits")
    flips: Flips | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="flip tests of the champion: do answers change when a term, or a value, is swapped; see "
        "[flip tests](fairness.md#flip-tests)",
        examples=["{terms: [[he, she], [Mr, Ms]]}"],
    )  # fmt: skip
    attribution: AttributionMonitor | None = Field(
        None, exclude_if=lambda value: value is None,  # a spec without it keeps its digest
        description="what each column counts in the model's answers, by window; it takes a twentieth of the budget "
        "from drift",
        examples=["{rows: 200}"],
    )  # fmt: skip
    positive_class: PositiveClass = Field(
        "assumed", exclude_if=lambda value: value == "assumed",  # a spec of an earlier release keeps its digest
        description="what fairness does where two classes have names and none is declared as positive: `declared` "
        "gives no value; `assumed`, in specs of earlier releases only, takes the last in order and says so. A new "
        "spec with protected columns has `declared`",
    )  # fmt: skip

    @field_validator("windows")
    @classmethod
    def _some(cls, value: Any, info: ValidationInfo) -> Any:
        if value == ():
            raise ValueError("is an empty list; give at least one length such as [1d], or auto")
        if is_new(info) and isinstance(value, tuple):
            _check_lengths(value)
        if is_new(info) and isinstance(value, RowWindow) and value.rows > MAX_ROWS:
            raise KeyProblem(("rows",), f"is {str(value.rows)[:20]}; a window has at most {MAX_ROWS:,} rows")
        return value

    @field_validator("false_alarms")
    @classmethod
    def _budget(cls, value: str | AlphaBudget, info: ValidationInfo) -> str | AlphaBudget:
        if isinstance(value, AlphaBudget):
            if is_new(info) and value.alpha < MIN_ALPHA:
                raise KeyProblem(("alpha",), f"is {value.alpha:g}; give at least {MIN_ALPHA:f}")
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) per ([0-9]+[hd])", value)
        if match is None:
            raise ValueError(
                f"false_alarms is {value[:60]!r}; write alarms per period such as `1 per 30d`, or {{alpha: 0.01}}"
            )
        if is_new(info):
            alarms = float(match[1][:20])
            if len(match[1]) > 20 or not 0.0 < alarms <= MAX_ALARMS:
                raise ValueError(
                    f"false_alarms is {value[:60]!r}; write a number of alarms above 0 and up to {MAX_ALARMS:,}, such "
                    "as `1 per 30d`"
                )
            if duration(match[2]) > alarms * LONGEST:
                raise ValueError(
                    f"false_alarms is {value[:60]!r}; write at least 1 per {LONGEST.days}d, one in a hundred years"
                )
        return value

    _chosen: tuple[str, ...] = PrivateAttr(())  # the lengths that `windows: auto` stands for; kept with the reference

    def with_lengths(self, lengths: Sequence[str]) -> "Monitors":
        """The same monitors, with the lengths that `windows: auto` stands for."""
        found = self.model_copy()
        found._chosen = tuple(lengths)
        return found

    @property
    def window_lengths(self) -> tuple[str, ...] | RowWindow:
        """The windows that are judged; none while the lengths that `auto` stands for are not chosen."""
        return self._chosen if self.windows == "auto" else self.windows

    @property
    def scales(self) -> tuple[str, ...]:
        """The lengths of the windows that are judged: durations such as `7d`, or `500 rows`."""
        windows = self.window_lengths
        return (f"{windows.rows} rows",) if isinstance(windows, RowWindow) else windows

    def alpha(self, scale: str) -> float:
        """The false-alarm probability that one window of a length may spend, at most 0.5 for a budget per period.

        A budget of A alarms per period is shared equally by the window lengths, and then by the windows of one length
        that end in the period: alpha = A / lengths / windows. The expected number of false alarms is windows x alpha,
        whether or not windows are independent.

        Raises:
            ValueError: a budget per period with row windows.
        """
        if isinstance(self.false_alarms, AlphaBudget):
            return self.false_alarms.alpha
        if isinstance(self.windows, RowWindow):
            raise ValueError(
                f"is {self.false_alarms!r}, a budget per period, which needs time windows; with windows {{rows: "
                f"N}} give "
                "false_alarms: {alpha: 0.01}"
            )
        alarms, period = self.false_alarms.split(" per ")
        return float(min(0.5, float(alarms) / max(len(self.scales), 1) * (duration(scale) / duration(period))))
