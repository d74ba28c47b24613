"""The inputs of gates and the result each returns. Pure: no file, no database.

`unknown` blocks. `not_applicable` does not: the gate asks for what a model of this kind does not have, and says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from core.arrays import Floats
from monitor.fairness.unknown_members import Shares
from monitor.spec.envelope import Envelope
from monitor.spec.monitors import FairnessRule
from monitor.spec.positive import DeclaredClass

Verdict = Literal["pass", "fail", "unknown", "not_applicable"]

MIN_ROWS: Final = 30  # fewer rows than this decide nothing
NO_CLASS: Final = DeclaredClass(None, "columns.PREDICTION.positive", truth=False, assume=False)


@dataclass(frozen=True, eq=False)
class ComparedScores:
    """Champion and challenger on the same rows.

    Shapes: all (rows,). Scores are per row, higher is better: 1 or 0 for a classification right or wrong, a score for
    a generation. Predictions and groups are text; a group may be None where it is not known.
    """

    metric: str
    champion: Floats
    challenger: Floats
    truth: tuple[str, ...] = ()
    champion_predictions: tuple[str, ...] = ()
    challenger_predictions: tuple[str, ...] = ()
    champion_confidence: Floats | None = None  # probability of the answer given, 0..1
    challenger_confidence: Floats | None = None
    champion_labels: tuple[str, ...] = ()  # every answer that the champion can give
    subjects: tuple[str | None, ...] = ()  # whom a row is about; several rows of one are not independent
    groups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    champion_values: Mapping[str, float | None] = field(default_factory=dict)  # KPIs by name
    challenger_values: Mapping[str, float | None] = field(default_factory=dict)
    bounded: bool = False  # whether every score lies within 0..1
    written: Mapping[str, "ComparedScores"] = field(default_factory=dict)  # of answers that the models wrote, by metric
    beside: tuple["ComparedScores", ...] = ()  # further scores of the same rows, none of which may regress either

    @property
    def rows(self) -> int:
        return len(self.challenger)


@dataclass(frozen=True, slots=True)
class IntegrityFacts:
    """What an inspection of the adapter files found, and what was registered."""

    files: tuple[str, ...]
    tensors: int
    finite: bool
    logits_change: float | None  # largest absolute difference with and without the adapter on probe rows
    adapter_digest: str  # of the folder as it is now
    registered_digest: str
    base_digest: str
    registered_base_digest: str
    table: bool = False  # a tabular model, and no adapter


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    """A golden row that the challenger answered wrongly."""

    row: str
    expected: str
    given: str
    champion_right: bool


@dataclass(frozen=True, slots=True)
class GoldenFacts:
    rows: int
    wrong: tuple[GoldenAnswer, ...]


@dataclass(frozen=True, slots=True)
class ServingTimes:
    """Milliseconds that one text takes, the least of several tries each, by model on the same texts.

    `loaded_bytes`: files of weights that serving loads, the champion's and the challenger's.
    """

    champion: tuple[float, ...]
    challenger: tuple[float, ...]
    adapter_bytes: int
    loaded_bytes: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class GateInputs:
    envelope: Envelope
    new: ComparedScores | None  # held-out new rows
    old: ComparedScores | None  # old hold-out
    fairness: tuple[FairnessRule, ...] = ()
    positive: DeclaredClass = NO_CLASS  # the class that fairness metrics compare, unless a rule names another
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # of numeric protected columns
    proxies: Mapping[str, Shares] = field(default_factory=dict)  # by protected column that only guesses at membership
    integrity: IntegrityFacts | None = None
    classifies: bool = True  # whether the model answers with classes; else it writes texts
    golden: GoldenFacts | None = None
    changed: ComparedScores | None = None  # scores on changed texts minus those on the texts as they are
    times: ServingTimes | None = None
    answers: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # champion's and challenger's, by prompt


@dataclass(frozen=True, slots=True)
class GateResult:
    gate: str
    verdict: Verdict
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gate:
    name: str
    judge: Callable[[GateInputs], GateResult]
