"""Mapped classes of the monitor: models, specs, references, windows, measurements, alerts and datasets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed

VERDICTS = ("ok", "alarm", "unknown")
ALERT_STATES = ("open", "acknowledged", "resolved")
SEVERITIES = ("info", "warning", "critical")  # from the least to the most severe
QUARANTINE_STATES = ("released", "fixed", "discarded")
MONITORS = (
    "drift", "kpi", "fairness", "concept", "quality", "volume", "silence", "estimate", "outcomes", "system",
    "attribution",
)  # fmt: skip

# Segment of the monitor `estimate`: numbers of whole windows, kept apart from the realised ones of the same metric.
ESTIMATED = "estimated"

# Longest names of rows with one value of a column, as `monitor.levels.slice_name` writes them.
MAX_SEGMENT_CHARS = 300
MAX_SLICE_CHARS = 200


class Model(Keyed, Bound, Base):
    unbound: ClassVar[Mapping[str, str]] = {
        "next_outcome": "where the reader of outcomes has got",
        "silent_seq": "where the check for silence has got",
    }

    __tablename__ = "model"

    name: Mapped[str] = mapped_column(String(63), unique=True)
    revision: Mapped[int] = mapped_column(default=1)
    next_outcome: Mapped[int] = mapped_column(
        default=0
    )  # every window's numbers include the rows of outcomes before it
    silent_seq: Mapped[int | None]  # next event when its silence was announced; null once rows arrive
    created_at: Mapped[datetime]


class SpecRevision(Keyed, Bound, Base):
    """Every spec that a model ever had. A threshold applies from `created_at` on, never to the past."""

    __tablename__ = "spec_revision"
    __table_args__ = (UniqueConstraint("model_id", "revision"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    revision: Mapped[int]
    digest: Mapped[str] = mapped_column(String(80))
    document: Mapped[dict[str, Any]]
    author: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]


class ReferenceRow(Keyed, Bound, Base):
    """A reference of one model from `from_seq` on. A promotion begins a new one; the newest is in force."""

    unbound: ClassVar[Mapping[str, str]] = {
        "profiled_seq": "where the profiler has got",
        "settled_seq": "where late rows have been looked for",
        "concept": "state of a stream after its last label",
    }

    __tablename__ = "baseline"
    __table_args__ = (
        CheckConstraint("state in ('collecting', 'ready')", name="state"),
        Index("ix_baseline_model_created", "model_id", "created_at"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    spec_revision: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="collecting")
    reason: Mapped[str] = mapped_column(String(200))
    from_seq: Mapped[int]  # first event that may enter it
    to_seq: Mapped[int | None]  # one past its last event, once ready; windows start here
    origin_ts: Mapped[datetime | None]  # of the first event; time windows are counted from here
    from_ts: Mapped[datetime | None]
    to_ts: Mapped[datetime | None]
    rows: Mapped[int | None]
    # Windows of rows begin anew with this event, one past the reference's last; null until that is known.
    windows_seq: Mapped[int | None]
    windows_ts: Mapped[datetime | None]  # no window of time is closed between the rows before a long pause and this
    far_rows: Mapped[list[Any]] = mapped_column(default=list)  # monitor.reference.far_rows: left out for their time
    moved: Mapped[dict[str, Any] | None]  # monitor.reference.stability: columns that moved within it
    artifact: Mapped[str | None] = mapped_column(String(80))  # monitor.profile.reference_profile bytes
    problem: Mapped[str | None]  # why its rows could not be fitted
    profiled_seq: Mapped[int | None]  # the stored profiles include every event before it
    settled_seq: Mapped[int | None]  # the verdicts of closed windows include every event before it
    estimator: Mapped[str | None] = mapped_column(String(80))  # monitor.estimate bytes
    estimator_labels: Mapped[int] = mapped_column(default=0)  # labelled reference rows at the last attempt to fit it
    estimator_reason: Mapped[str | None]  # why there is none
    quality: Mapped[str | None] = mapped_column(String(80))  # monitor.windows.quality JSON
    quality_labels: Mapped[bool] = mapped_column(default=False)  # whether it includes the usual delay of labels
    concept: Mapped[dict[str, Any] | None]  # state of monitor.drift.stream after its last label
    arrivals: Mapped[dict[str, Any] | None]  # monitor.windows.silence: when rows usually arrive
    windows: Mapped[list[Any] | None]  # the lengths that `windows: auto` stands for; null until they are chosen
    rows_per_day: Mapped[float | None]  # the rate from which they were chosen
    rule: Mapped[str | None] = mapped_column(String(8))  # where something is auto: early, blocks, declared
    begins_at: Mapped[datetime | None]  # the rows of an automatic reference lie from here on
    ends_at: Mapped[datetime | None]  # and before here, where the first window that is judged begins
    steady_at: Mapped[datetime | None]  # the rate has held since then; null: since the first row
    left_out: Mapped[list[Any]] = mapped_column(default=list)  # spans in which a drift alert was unresolved
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]


class StoredProfile(Keyed, Base):
    """Column profile of the rows of one profile block: all of them, those of one version, or of one segment."""

    __tablename__ = "profile"
    __table_args__ = (UniqueConstraint("baseline_id", "label", "version", "segment"),)

    baseline_id: Mapped[UUID] = mapped_column(ForeignKey("baseline.id"))
    label: Mapped[int] = mapped_column(BigInteger)  # block, counted from the epoch or from the first event
    # "" means "all": unique constraints do not compare nulls. A segment is written `column=value`.
    version: Mapped[str] = mapped_column(String(256), default="")
    segment: Mapped[str] = mapped_column(String(MAX_SEGMENT_CHARS), default="")
    rows: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)  # monitor.profile.codec
    # Text columns that could not be encoded, with the reason; their counts mean nothing.
    unencoded: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Window(Keyed, Bound, Base):
    """One tumbling window of one scale (`500 rows`, `1d`).

    It is judged when it closes, and again when rows arrive late. Its KPIs follow outcomes that arrive or change.
    """

    unbound: ClassVar[Mapping[str, str]] = {
        "next_outcome": "where the reader of outcomes has got",
        "judged_seq": "where late rows have been looked for",
    }

    __tablename__ = "window"
    __table_args__ = (
        UniqueConstraint("baseline_id", "scale", "number"),
        CheckConstraint(f"verdict in {VERDICTS}", name="verdict"),
        Index("ix_window_model_to_ts", "model_id", "to_ts"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    baseline_id: Mapped[UUID] = mapped_column(ForeignKey("baseline.id"))
    spec_revision: Mapped[int]
    scale: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    from_seq: Mapped[int]
    to_seq: Mapped[int]  # one past the last event
    from_ts: Mapped[datetime]
    to_ts: Mapped[datetime]
    rows: Mapped[int]
    versions: Mapped[list[Any]]  # model versions that answered in it
    verdict: Mapped[str] = mapped_column(String(16))
    sentence: Mapped[str]  # the verdict in words
    decision: Mapped[dict[str, Any]]  # monitor.detect.decide.DriftDecision as JSON
    labels: Mapped[int] = mapped_column(default=0)  # events with an outcome when KPIs were last computed
    next_outcome: Mapped[int] = mapped_column(default=0)  # its numbers include the rows of outcomes before it
    events_version: Mapped[int]  # Delta version of the events the verdict was computed from
    judged_seq: Mapped[int] = mapped_column(default=0)  # the verdict considers every event before it
    closed_at: Mapped[datetime]
    refreshed_at: Mapped[datetime]
    corrected_at: Mapped[datetime | None]  # when it was last judged again
    corrections: Mapped[int] = mapped_column(default=0)
    history: Mapped[list[Any]] = mapped_column(
        default=list
    )  # monitor.windows.correction_history.verdict_summary of earlier verdicts, and why they changed


class LaterVerdict(Keyed, Bound, Base):
    """The verdict that a closed window would have got under a later spec revision.

    It stands beside the verdict that was given, is marked with its revision, and never alarms.
    """

    unbound: ClassVar[Mapping[str, str]] = {
        "next_outcome": "where the reader of outcomes has got",
        "judged_seq": "where late rows have been looked for",
    }

    __tablename__ = "later_verdict"
    __table_args__ = (
        UniqueConstraint("window_id", "spec_revision"),
        CheckConstraint(f"verdict in {VERDICTS}", name="verdict"),
    )

    window_id: Mapped[UUID] = mapped_column(ForeignKey("window.id"))
    spec_revision: Mapped[int]
    verdict: Mapped[str] = mapped_column(String(16))
    sentence: Mapped[str]
    drift: Mapped[str] = mapped_column(String(32))  # verdict of the drift test
    p: Mapped[float | None]
    alpha: Mapped[float | None]
    readings: Mapped[list[Any]] = mapped_column(default=list)  # KPIs, fairness and every reading beyond its limit
    judged_seq: Mapped[int]  # as in the window: it considers every event before it
    next_outcome: Mapped[int]  # and the rows of outcomes before this one
    judged_at: Mapped[datetime]


class Measurement(Keyed, Bound, Base):
    """One number about one window. `value` is null with a `reason` where the statistic is undefined."""

    __tablename__ = "measurement"
    __table_args__ = (
        # "" means "the whole model": unique constraints do not compare nulls.
        UniqueConstraint("window_id", "monitor", "metric", "column", "segment"),
        CheckConstraint(f"monitor in {MONITORS}", name="monitor"),
        CheckConstraint("(value is null) <> (reason is null)", name="value_or_reason"),
        Index("ix_measurement_model_metric", "model_id", "metric", "to_ts"),
        # The course of one number: a page reads a year of it, whatever other columns and segments there are.
        Index("ix_measurement_series", "model_id", "metric", "column", "segment", "to_ts"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("window.id"))
    monitor: Mapped[str] = mapped_column(String(16))
    metric: Mapped[str] = mapped_column(String(64))
    column: Mapped[str] = mapped_column(String(128), default="")
    segment: Mapped[str] = mapped_column(String(MAX_SLICE_CHARS), default="")
    value: Mapped[float | None]
    reason: Mapped[str | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    unit: Mapped[str] = mapped_column(String(32))
    limit: Mapped[float | None]
    alarm: Mapped[bool] = mapped_column(default=False)
    n: Mapped[int]
    n_reference: Mapped[int | None]
    # The value expected before outcomes arrived, with its 95 % band.
    estimated: Mapped[float | None]
    estimated_low: Mapped[float | None]
    estimated_high: Mapped[float | None]
    estimate_inside: Mapped[bool | None]  # whether the realised value lay in the band; null until known
    # Late and changed outcomes correct a value: the value before, its number of rows, and when it changed.
    previous_value: Mapped[float | None]
    previous_n: Mapped[int | None]
    corrected_at: Mapped[datetime | None]
    details: Mapped[dict[str, Any]]  # group sizes and rates, method parameters
    from_ts: Mapped[datetime]
    to_ts: Mapped[datetime]
    computed_at: Mapped[datetime]


class FairnessCounts(Keyed, Bound, Base):
    """The rows of one window counted by protected group, from which fairness over any period is answered."""

    __tablename__ = "fairness_counts"
    __table_args__ = (UniqueConstraint("window_id"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"), index=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("window.id"))
    rows: Mapped[int]
    labelled: Mapped[int]  # rows with a prediction and an outcome
    data: Mapped[bytes] = mapped_column(LargeBinary)  # monitor.fairness.counts_codec
    computed_at: Mapped[datetime]


class Incident(Keyed, Bound, Base):
    """Alerts of one cause: those of one model that overlap or follow closely, and those of others with the same cause.

    `model_id` is the model that it began with.
    """

    __tablename__ = "incident"
    __table_args__ = (
        CheckConstraint(f"state in {ALERT_STATES}", name="state"),
        CheckConstraint(f"severity in {SEVERITIES}", name="severity"),
        Index("ix_incident_model_opened", "model_id", "opened_at"),
        Index("ix_incident_state_opened", "state", "opened_at"),
    )

    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("model.id"))  # null: about the installation itself
    headline: Mapped[str]  # sentence of its most severe alert
    severity: Mapped[str] = mapped_column(String(16))  # of its most severe alert
    state: Mapped[str] = mapped_column(String(16), default="open")
    owner: Mapped[str | None] = mapped_column(String(100))  # who is assigned
    from_ts: Mapped[datetime]  # the time in which its windows alarmed, up to now
    to_ts: Mapped[datetime]
    opened_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    snoozed_until: Mapped[datetime | None]  # no messages before


class IncidentNote(Keyed, Bound, Base):
    """One line of an incident's timeline: what happened, or what somebody did or wrote."""

    __tablename__ = "incident_note"
    __table_args__ = (UniqueConstraint("incident_id", "number"),)

    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incident.id"))
    number: Mapped[int]  # order within the incident, from 1
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(24))  # monitor.alerts.incidents.NoteKind
    text: Mapped[str]
    alert_id: Mapped[UUID | None] = mapped_column(ForeignKey("alert.id"))


class Mute(Keyed, Bound, Base):
    """Alerts that send no messages until a time. They are recorded all the same; "" means any."""

    __tablename__ = "mute"

    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("model.id"))  # null: alerts about the installation itself
    monitor: Mapped[str] = mapped_column(String(16), default="")
    metric: Mapped[str] = mapped_column(String(64), default="")
    column: Mapped[str] = mapped_column(String(128), default="")
    reason: Mapped[str]
    until: Mapped[datetime]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
    ended_by: Mapped[str | None] = mapped_column(String(100))  # who ended it before its time


class Alert(Keyed, Bound, Base):
    """One or more episodes of consecutive alarms of one monitor, until a person resolves the alert."""

    unbound: ClassVar[Mapping[str, str]] = {
        "held_back": "what the sender of messages remembers",
    }

    __tablename__ = "alert"
    __table_args__ = (
        CheckConstraint(f"state in {ALERT_STATES}", name="state"),
        CheckConstraint(f"monitor in {MONITORS}", name="monitor"),
        CheckConstraint(f"severity in {SEVERITIES}", name="severity"),
        Index("ix_alert_model_opened", "model_id", "opened_at"),
        Index("ix_alert_incident", "incident_id"),
        Index("ix_alert_state", "state", "model_id"),
        Index("ix_alert_opened", "opened_at"),
    )

    model_id: Mapped[UUID | None] = mapped_column(ForeignKey("model.id"))  # null: about the installation itself
    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incident.id"))
    severity: Mapped[str] = mapped_column(String(16), default="warning")  # the highest of its newest episode
    monitor: Mapped[str] = mapped_column(String(16))
    metric: Mapped[str] = mapped_column(String(64))
    column: Mapped[str] = mapped_column(String(128), default="")
    value: Mapped[float | None]
    limit: Mapped[float | None]
    sentence: Mapped[str]
    first_window_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("window.id")
    )  # null for silence, as no window closes
    last_window_id: Mapped[UUID | None] = mapped_column(ForeignKey("window.id"))
    windows: Mapped[int] = mapped_column(default=1)  # windows that alarm, in all episodes
    episodes: Mapped[list[Any]] = mapped_column(default=list)  # monitor.alerts.episodes.Episode as JSON, oldest first
    state: Mapped[str] = mapped_column(String(16), default="open")
    opened_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(100))
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None] = mapped_column(String(100))
    note: Mapped[str | None]
    # Evidently's findings on the raw rows of the episode announced last, and those of earlier episodes.
    confirmation: Mapped[dict[str, Any] | None]
    confirmation_error: Mapped[str | None]
    confirmed_before: Mapped[list[Any]] = mapped_column(default=list)
    # Late rows or outcomes may withdraw an alarm. The alert stays, and counts the windows it lost.
    withdrawn_windows: Mapped[int] = mapped_column(default=0)
    withdrawn_at: Mapped[datetime | None]  # since when none of its windows alarms
    held_back: Mapped[str | None] = mapped_column(String(16))  # the newest occasion that a snooze or mute kept silent


class AlertWindow(Bound, Base):
    """A window that alarmed, and the alert that it belongs to."""

    __tablename__ = "alert_window"

    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    window_id: Mapped[UUID] = mapped_column(ForeignKey("window.id"), primary_key=True)
    alarms: Mapped[bool] = mapped_column(default=True)  # false once a correction has withdrawn the alarm

    __table_args__ = (Index("ix_alert_window_window", "window_id"),)


class FairnessCause(Keyed, Bound, Base):
    """Where a disparity that alarmed comes from: one protected column of one window of an alert."""

    __tablename__ = "fairness_cause"
    __table_args__ = (UniqueConstraint("alert_id", "window_id", "column"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alert.id"))
    window_id: Mapped[UUID] = mapped_column(ForeignKey("window.id"))
    metric: Mapped[str] = mapped_column(String(64))
    column: Mapped[str] = mapped_column(String(128))
    document: Mapped[dict[str, Any]]  # monitor.causes.ask.causes_of
    computed_at: Mapped[datetime]


class Dataset(Keyed, Bound, Base):
    """A registered set of labelled rows: the provenance record of a Parquet artifact that holds them."""

    __tablename__ = "dataset"
    __table_args__ = (
        CheckConstraint("role in ('train', 'eval', 'holdout', 'reference', 'golden')", name="role"),
        Index("ix_dataset_model_created", "model_id", "created_at"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(80))  # of the Parquet file
    rows: Mapped[int]
    provenance: Mapped[dict[str, Any]]  # source, Delta versions, filters, counts dropped and why, parents
    run_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))


class Explanation(Keyed, Bound, Base):
    __tablename__ = "explanation"
    __table_args__ = (UniqueConstraint("model_id", "event_id", "version"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    event_id: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(256))
    artifact: Mapped[str] = mapped_column(String(80))  # words and attributions: personal data, kept outside the ledger
    additivity_residual: Mapped[float]
    created_at: Mapped[datetime]


class ExplanationBlock(Keyed, Bound, Base):
    """Explanations of many events of one version, a line each, in one Parquet artifact."""

    __tablename__ = "explanation_block"
    __table_args__ = (Index("ix_explanation_block_model_seq", "model_id", "version", "from_seq"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    version: Mapped[str] = mapped_column(String(256))
    from_seq: Mapped[int]  # of its first event
    to_seq: Mapped[int]  # one past its last; events in between may be missing
    rows: Mapped[int]
    withheld: Mapped[int]
    residual: Mapped[float]  # the largest of all rows and outputs
    artifact: Mapped[str] = mapped_column(String(80))  # attributions: personal data, kept outside the ledger
    facts: Mapped[dict[str, Any]]  # columns, outputs, unit, method, background, seed, digest of the model
    created_at: Mapped[datetime]


class ArtifactDraft(Keyed, Base):
    """An artifact that shows rows in clear, while it is written; the entry is deleted once another row names it."""

    __tablename__ = "artifact_draft"
    __table_args__ = (CheckConstraint("(event_id is null) <> (alert_id is null)", name="about"),)

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    artifact: Mapped[str] = mapped_column(String(80))
    event_id: Mapped[str | None] = mapped_column(String(200))  # the event that is explained
    alert_id: Mapped[UUID | None] = mapped_column(ForeignKey("alert.id"))  # the alert that is confirmed


class QuarantineDecision(Keyed, Bound, Base):
    """The decision about a row in quarantine; a row without one is open."""

    __tablename__ = "quarantine_decision"
    __table_args__ = (
        UniqueConstraint("model_id", "row"),
        CheckConstraint(f"state in {QUARANTINE_STATES}", name="state"),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("model.id"))
    row: Mapped[str] = mapped_column(String(32))  # `id` in the Delta table
    state: Mapped[str] = mapped_column(String(16))
    by: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime]


class UnmappedService(Keyed, Base):
    """A service whose spans no model accepts, with the names and types of their attributes, never their values."""

    __tablename__ = "unmapped_service"

    service: Mapped[str] = mapped_column(String(255), unique=True)
    spans: Mapped[int]
    sample: Mapped[dict[str, Any]]  # span kind -> monitor.ingest.otlp.unmapped.sample_of
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
