"""Errors of the monitor; each keeps its facts as attributes."""

from datetime import datetime
from uuid import UUID

from core.errors import BusyError, ConflictError, InvalidError, NotFoundError


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model {model!r} does not exist; declare it with PUT /api/v1/models/{model} or `assay apply SPEC`",
            model=model,
        )


class EventNotFoundError(NotFoundError):
    code = "event_not_found"

    def __init__(self, model: str, event_id: str) -> None:
        shown = event_id[:200]
        super().__init__(f"model {model} has no event {shown!r}", model=model, event_id=shown)


class AlertNotFoundError(NotFoundError):
    code = "alert_not_found"

    def __init__(self, alert_id: UUID) -> None:
        super().__init__(f"alert {alert_id} does not exist", alert=str(alert_id))


class AlertStateError(ConflictError):
    code = "alert_state"

    def __init__(self, alert_id: UUID, state: str, wanted: str) -> None:
        super().__init__(f"alert {alert_id} is {state}; it cannot be {wanted}", alert=str(alert_id), state=state)


class IncidentNotFoundError(NotFoundError):
    code = "incident_not_found"

    def __init__(self, incident_id: UUID) -> None:
        super().__init__(f"incident {incident_id} does not exist", incident=str(incident_id))


class IncidentStateError(ConflictError):
    code = "incident_state"

    def __init__(self, incident_id: UUID, state: str, wanted: str) -> None:
        super().__init__(
            f"incident {incident_id} is {state}; it cannot be {wanted}", incident=str(incident_id), state=state
        )


class MuteNotFoundError(NotFoundError):
    code = "mute_not_found"

    def __init__(self, mute_id: UUID) -> None:
        super().__init__(f"mute {mute_id} does not exist", mute=str(mute_id))


class MuteEndedError(ConflictError):
    code = "mute_ended"

    def __init__(self, mute_id: UUID, at: datetime) -> None:
        super().__init__(f"mute {mute_id} ended at {at.isoformat()}", mute=str(mute_id), ended=at.isoformat())


class StoreFullError(BusyError):
    """The disk has no room; nothing of the request was stored."""

    code = "store_full"


class TableDamagedError(BusyError):
    """The Delta log of a table cannot be read. A person must repair it; senders must keep their rows meanwhile."""

    code = "table_damaged"


class ColumnTypeChangedError(ConflictError):
    code = "column_type_changed"


class QuarantineRowNotFoundError(NotFoundError):
    code = "quarantine_row_not_found"

    def __init__(self, model: str, row: str) -> None:
        super().__init__(
            f"model {model} has no row {row[:64]!r} in quarantine; list them to see their ids", row=row[:64]
        )


class QuarantineRowDecidedError(ConflictError):
    code = "quarantine_row_decided"

    def __init__(self, row: str, state: str) -> None:
        super().__init__(f"row {row} of the quarantine is already {state}", row=row, state=state)


class RowRejectedError(InvalidError):
    code = "row_rejected"

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason, field=field, reason=reason)
