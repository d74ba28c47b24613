"""What an explaining process is asked, and what a model that can be explained answers."""

from dataclasses import asdict
from typing import Any, Literal, Protocol

from pydantic import Field

from core.errors import AppError
from core.jobs import Opinion
from monitor.explain.base import Record
from monitor.explain.text import MAX_EVALS
from retrain.evals.config import ModelFiles
from retrain.train.chat_keys import Chat
from retrain.train.config import Frozen
from retrain.train.kinds import AnyTask

Document = dict[str, Any]


class Decision(Frozen):
    """`input`: the text that the model was asked; of typed columns one JSON object. `answer`: None if it is unknown."""

    input: str
    answer: str | None = None


class ExplainedModel(Frozen):
    """A version's files and how it is asked."""

    files: ModelFiles
    task: AnyTask
    max_length: int | None = Field(default=None, ge=2)
    chat: Chat = Chat(template="none")
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Asked(Frozen):
    """Decisions to explain with one model."""

    model: ExplainedModel
    decisions: tuple[Decision, ...]
    opinions: tuple[Opinion, ...] = ()
    max_evals: int = Field(default=MAX_EVALS, ge=2)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Explained(Protocol):
    """A loaded model."""

    def explain(self, asked: Asked) -> list[Document | AppError]:
        """A record for each decision, in order; in its place the error that says why there is none."""
        ...


def document(record: Record, *, model_answer: str | None) -> Document:
    """A record as it is stored; `model_answer` is what the version itself answers."""
    return asdict(record) | {"model_answer": model_answer}
