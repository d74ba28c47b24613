"""`python -m retrain.evals.explain`: explains decisions, in its own process, which stays and answers requests.

A request is an `Asked` as JSON, an answer the list of records, in order; where there is none, `{"error": ...}`. The
model that was asked last stays loaded.
"""

import traceback
from typing import Any

from core.answering import answer_requests
from core.errors import AppError
from retrain.errors import TrainerError
from retrain.evals.explained.base import Asked, Document, Explained, ExplainedModel
from retrain.evals.explained.load import loaded


class Kept:
    """The model that was asked last."""

    def __init__(self) -> None:
        self.name: ExplainedModel | None = None
        self.model: Explained | None = None

    def get(self, model: ExplainedModel) -> Explained:
        if self.model is None or model != self.name:
            self.model = None  # before the next is loaded
            self.model, self.name = loaded(model), model
        return self.model


def answered(kept: Kept, request: Any) -> list[Document]:
    """Records of a request, or for each of its decisions the error."""
    asked = Asked.model_validate(request)
    try:
        found: list[Document | AppError] = list(kept.get(asked.model).explain(asked))
    except AppError as error:
        found = [error] * max(1, len(asked.decisions))
    except Exception as error:  # noqa: BLE001 - the edge of the process: its answer is the only channel
        traceback.print_exc()
        told = TrainerError("unexpected", f"{type(error).__name__}: {error}")
        found = [told] * max(1, len(asked.decisions))
    return [
        {"error": {"code": one.code, "message": one.message}} if isinstance(one, AppError) else one for one in found
    ]


def main() -> None:
    kept = Kept()
    answer_requests(lambda request: answered(kept, request))


if __name__ == "__main__":
    main()
