"""What each task reads and which kind of model it trains. No model library is imported here: the service asks too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Task = Literal["sequence_classification", "causal_lm", "dpo"]
TableTask = Literal["tabular_classification", "tabular_regression"]
AnyTask = Literal[Task, TableTask]
Architecture = Literal["sequence_classification", "causal_lm"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One task as the rest of the service sees it; `retrain.train.tasks` has how it is trained."""

    columns: tuple[str, ...]  # text columns of its rows: what is asked, then what is learned
    architecture: Architecture

    @property
    def classifies(self) -> bool:
        return self.architecture == "sequence_classification"


KINDS: Final[Mapping[AnyTask, Kind]] = {
    "sequence_classification": Kind(("text", "label"), "sequence_classification"),
    "causal_lm": Kind(("prompt", "completion"), "causal_lm"),
    "dpo": Kind(("prompt", "chosen", "rejected"), "causal_lm"),
}
TABLE_COLUMNS: Final = ("text", "label")  # a row as one JSON object, and what is learned of it


def columns_of(task: AnyTask) -> tuple[str, ...]:
    """Text columns of a task's rows."""
    return KINDS[task].columns if task in KINDS else TABLE_COLUMNS


def classifies(task: AnyTask) -> bool:
    """Whether what a task learns is one of some labels."""
    return task == "tabular_classification" or (task in KINDS and KINDS[task].classifies)


def is_table(task: AnyTask) -> bool:
    """Whether a task reads typed columns and no text."""
    return task not in KINDS
