"""The explaining process of this worker: started when it is first needed or when a run begins, and kept for a while.

Its start takes longer than an explanation, above all beside a training, which starts the same libraries on the same
processors. So it is started with the run and holds the champion when somebody asks. Not where a card trains: its
memory is the training's, so there the process ends when a run begins, and is started for whoever asks.
"""

import time
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final, Literal

from core.answering import Answering
from core.errors import AppError
from core.logs import logger
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.errors import TrainerError
from retrain.evals.explained.base import Asked, ExplainedModel
from retrain.evals.explained.load import LOADERS
from retrain.explain.basis import Basis
from retrain.runs.resources import free_card

MODULE: Final = "retrain.evals.explain"
STILL_S: Final = 600.0  # an explanation that used no CPU for this long is given up
KEEP_S: Final = 600.0  # a process that nobody asked for this long, while no run is under way, ends
LOOK_S: Final = 1.0  # between two looks for a run
log = logger("retrain.explain.process")


class Explaining:
    """The process, used by one thread at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: Answering | None = None
        self._used = self._looked = 0.0
        self._card: bool | None = None  # whether trainings of this machine use a card; asked once

    def ask(self, asked: Asked) -> list[dict[str, Any]]:
        """Records, or in their places `{"error": {"code", "message"}}`.

        Raises:
            AnsweringEndedError: the process was killed; ask again.
        """
        with self._lock:
            if self._process is None or not self._process.alive:
                self._process = Answering(MODULE, threads=asked.model.threads)
            self._used = time.monotonic()
            found: list[dict[str, Any]] = self._process.ask(asked.model_dump(mode="json"), still_s=STILL_S)
            self._used = time.monotonic()
            return found

    def keep(self, site: Site) -> None:
        """Start the process when a run begins, and end it when nobody has asked for long. Called when there is time."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        if self._card is None:
            self._card = free_card(site.settings) is not None
        running = self._process is not None and self._process.alive
        idle = now - self._used >= KEEP_S
        model = None if running and not idle and not self._card else _under_way(site)
        match then(running=running, idle=idle, training=model is not None, card=self._card):
            case "start":
                assert model is not None
                self.ask(Asked(model=model, decisions=()))
            case "stay":
                self._used = now
            case "end":
                if self._lock.acquire(blocking=False):  # nobody is being answered
                    try:
                        self.close()
                    finally:
                        self._lock.release()

    def close(self) -> None:
        """End the process, whatever it does; whoever waits for its answer is told."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


def then(*, running: bool, idle: bool, training: bool, card: bool) -> Literal["start", "stay", "end"] | None:
    """What becomes of the process; None: nothing.

    Args:
        running: whether there is one.
        idle: whether nobody has asked it for long.
        training: whether a model whose decisions it can explain is being retrained.
        card: whether trainings of this machine use a card.
    """
    if not running:
        return "start" if training and not card else None
    if training and card:
        return "end"
    if idle:
        return "stay" if training else "end"
    return None


EXPLAINING: Final = Explaining()


def explained(asked: Asked) -> list[dict[str, Any] | AppError]:
    """A record for each decision, in order, or the error that says why there is none."""
    return [_error(one["error"]) if "error" in one else one for one in EXPLAINING.ask(asked)]


def _error(found: dict[str, str]) -> AppError:
    error: AppError = type("AnsweredError", (TrainerError,), {"code": found["code"]})(found["code"], found["message"])
    error.message = found["message"]  # as the process told it, under its own code
    return error


def _under_way(site: Site) -> ExplainedModel | None:
    """The champion of a model that is being retrained, if its decisions can be explained."""
    with site.database.read() as db:
        for model_id in store.models_under_way(db):
            try:
                basis = Basis.of(site, db, db.get_one(Model, model_id).name, None)
                basis.check_base()
            except AppError:  # no champion, or files that are gone or others: whoever asks for an explanation is told
                continue
            if basis.files.task in LOADERS and not basis.files.files.headless:
                return basis.files
    return None


def first(found: Sequence[dict[str, Any] | AppError]) -> dict[str, Any]:
    """The only record.

    Raises:
        AppError: the error in its place.
    """
    if isinstance(found[0], AppError):
        raise found[0]
    return found[0]
