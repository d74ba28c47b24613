"""Narrow errors of the monitor; each keeps its facts."""

from uuid import UUID

from core.errors import BusyError, ConflictError, NotFoundError


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model {model!r} does not exist; declare it with PUT /api/v1/models/{model} or `assay apply SPEC`",
            model=model,
        )


class AlertNotFoundError(NotFoundError):
    code = "alert_not_found"

    def __init__(self, alert_id: UUID) -> None:
        super().__init__(f"alert {alert_id} does not exist", alert=str(alert_id))


class AlertStateError(ConflictError):
    code = "alert_state"

    def __init__(self, alert_id: UUID, state: str, wanted: str) -> None:
        super().__init__(f"alert {alert_id} is {state}; it cannot be {wanted}", alert=str(alert_id), state=state)


class StoreFullError(BusyError):
    """No room on the disk; nothing of the request was stored."""

    code = "store_full"


class ColumnTypeChangedError(ConflictError):
    code = "column_type_changed"
