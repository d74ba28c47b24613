"""The background jobs: the name each is stored under, its payload and its lane.

Names and the fields of payloads are stored in the database of every installation, where jobs may be waiting when a new
release starts. A field that is added has a default, and a name that is retired stays until no release enqueues it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

Lane = Literal["default", "explain", "train"]
Opinion = Literal["lime", "integrated_gradients", "attention"]


class Payload(BaseModel):
    """What a job needs in order to run. Keys that a model does not name are ignored: another release may write them."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)  # errors of jobs are shown; event ids are not

    name: ClassVar[str]
    lane: ClassVar[Lane] = "default"


class EvaluateJob(Payload):
    """Close the due windows of a model and refresh those whose outcomes have arrived."""

    name: ClassVar[str] = "monitor.evaluate"
    model: str


class ConfirmJob(Payload):
    """Confirm a drift alert on the raw rows."""

    name: ClassVar[str] = "monitor.confirm"
    alert_id: UUID
    model: str | None = None  # whose turn it is


class WhyJob(Payload):
    """Find what drove an alert: what tells its window from the reference, or what lost cases have in common."""

    name: ClassVar[str] = "monitor.why"
    lane: ClassVar[Lane] = "explain"
    alert_id: UUID


class CausesJob(Payload):
    """Find where the disparities of a fairness alert come from."""

    name: ClassVar[str] = "monitor.causes"
    lane: ClassVar[Lane] = "explain"
    alert_id: UUID
    model: str | None = None  # whose turn it is


class FlipsJob(Payload):
    """Ask the champion again with terms or values of inputs swapped."""

    name: ClassVar[str] = "retrain.flips"
    lane: ClassVar[Lane] = "explain"
    model: str
    alert_id: UUID | None = None  # the fairness alert for which it is asked


class UpkeepJob(Payload):
    """Apply retention to a model's tables, compact and clean them."""

    name: ClassVar[str] = "monitor.upkeep"
    model: str


class DigestJob(Payload):
    """Record in the ledger which files the tables of all models consist of."""

    name: ClassVar[str] = "monitor.digest"


class AnchorJob(Payload):
    """Hand new checkpoints of the ledger to the anchors."""

    name: ClassVar[str] = "anchors.deliver"


class LedgerCheckJob(Payload):
    """Verify the ledger, and the rows that it binds, because somebody asked."""

    name: ClassVar[str] = "ledger.check"
    check_id: UUID


class ConsiderJob(Payload):
    """Decide whether a model's retraining policy starts a run."""

    name: ClassVar[str] = "retrain.consider"
    model: str
    cause: Literal["window", "schedule", "hours"]
    window_id: UUID | None = None
    due: datetime | None = None  # when a scheduler found it due, by its clock


class RunJob(Payload):
    """Take a retraining run to its end."""

    name: ClassVar[str] = "retrain.run"
    lane: ClassVar[Lane] = "train"
    run_id: UUID


class ExplainJob(Payload):
    """Compute the attributions of one decision, and second opinions about it."""

    name: ClassVar[str] = "retrain.explain"
    lane: ClassVar[Lane] = "explain"
    model: str
    event_id: str
    opinions: tuple[Opinion, ...] = ()
    again: bool = False  # also where the record is withheld


class ExplainBatchJob(Payload):
    """Compute the attributions of many decisions."""

    name: ClassVar[str] = "retrain.explain_batch"
    lane: ClassVar[Lane] = "explain"
    model: str
    batch_id: UUID


class ReasonsJob(Payload):
    """Give the reasons of one decision."""

    name: ClassVar[str] = "retrain.reasons"
    lane: ClassVar[Lane] = "explain"
    model: str
    event_id: str
    again: bool = False  # also where they were withheld


class AttributionsJob(Payload):
    """Measure what each column counts in a window."""

    name: ClassVar[str] = "retrain.attributions"
    lane: ClassVar[Lane] = "explain"
    model: str
    window_id: UUID


class EraseJob(Payload):
    """Remove a person's rows from everything derived from them, and prove it."""

    name: ClassVar[str] = "retrain.erase"
    erasure_id: UUID


class ReportJob(Payload):
    """Build a report."""

    name: ClassVar[str] = "reports.build"
    report_id: UUID
    model: str | None = None  # whose turn it is


JOBS: Final[Mapping[str, type[Payload]]] = {
    payload.name: payload
    for payload in (
        EvaluateJob, ConfirmJob, WhyJob, CausesJob, FlipsJob, UpkeepJob, DigestJob, AnchorJob, LedgerCheckJob,
        ConsiderJob, RunJob, ExplainJob, ExplainBatchJob, ReasonsJob, AttributionsJob, EraseJob, ReportJob,
    )
}  # fmt: skip

AWAITED: Final = (ExplainJob.name, ReasonsJob.name)  # somebody asked about one decision and waits

# Work that must be done some time, however often it failed, and of which one job waits at a time.
RECURRING: Final = tuple(job.name for job in (EvaluateJob, UpkeepJob, DigestJob, AnchorJob, ConsiderJob, EraseJob))
