"""Errors of the reports."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from core.errors import ConflictError, InvalidError, NotFoundError


class ReportNotFoundError(NotFoundError):
    def __init__(self, report_id: UUID | str) -> None:
        super().__init__(f"report {report_id} does not exist", report=str(report_id))


class NodeNotFoundError(NotFoundError):
    code = "node_not_found"

    def __init__(self, model: str, wanted: str) -> None:
        super().__init__(
            f"{model} has no node {wanted!r}; write KIND:NAME, such as version:v2, run:ID, dataset:NAME, report:ID or "
            "base_model:NAME, or the digest of a node", field="of", value=wanted,
        )  # fmt: skip


class ReportNotReadyError(ConflictError):
    """The report is still being built, or will never be: nothing is wrong with the service."""

    code = "report_not_ready"

    def __init__(self, report_id: UUID, state: str, reason: str | None) -> None:
        why = f"it failed: {reason}; request a new one" if state == "failed" else "it is still being built; ask again"
        super().__init__(f"report {report_id} has no files yet: {why}", report=str(report_id), state=state)


class FaceNotFoundError(NotFoundError):
    code = "face_not_found"

    def __init__(self, report_id: UUID, face: str, there: list[str]) -> None:
        super().__init__(
            f"report {report_id} has no {face}; it has {', '.join(there)}", report=str(report_id), faces=there
        )


class DatasetNotFoundError(NotFoundError):
    code = "dataset_not_found"

    def __init__(self, dataset_id: UUID) -> None:
        super().__init__(
            f"there is no dataset {dataset_id}; the list of datasets has them all", dataset=str(dataset_id)
        )


class ReportPeriodError(InvalidError):
    def __init__(self, start: datetime, end: datetime, reason: str) -> None:
        super().__init__(
            f"the period {start.isoformat()} to {end.isoformat()} cannot be reported: {reason}",
            field="from", value=start.isoformat(),
        )  # fmt: skip


class ReportSubjectError(InvalidError):
    """What a report is to be about is missing, or is not of this model."""

    code = "report_subject"

    def __init__(self, kind: str, about: str, value: str | None, fix: str) -> None:
        super().__init__(
            f"subject is {value!r}: a report of kind {kind} is about one {about}; {fix}", field="subject", value=value,
        )  # fmt: skip


class ReportKindError(InvalidError):
    def __init__(self, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(f"kind {kind!r} is not known; give one of {', '.join(known)}", field="kind", value=kind)


class TypesettingError(InvalidError):
    """The template and the document do not fit together."""

    code = "typesetting"


class UnknownTableError(InvalidError):
    def __init__(self, table: str, known: Sequence[str]) -> None:
        super().__init__(
            f"table {table[:100]!r} is not in this report; give one of {', '.join(known)}", field="table",
            value=table[:200],
        )  # fmt: skip


class ReportCompleteError(ConflictError):
    code = "report_complete"

    def __init__(self, report_id: UUID) -> None:
        super().__init__(
            f"report {report_id} is built, with its PDF; request a new one for newer figures", report=str(report_id)
        )
