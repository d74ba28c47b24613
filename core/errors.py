"""Error families. Each folder derives narrow errors from these; only api/http/errors.py knows HTTP."""

from typing import Any, ClassVar


class AppError(Exception):
    """An error a user can act on.

    `code` is stable and machine-readable; `facts` are the values the message was built from, returned to API
    clients next to it. The message names the field, the value and the fix.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors come back from worker processes as they were, whatever the constructor of a narrow one asks for."""
        return _restored, (type(self), self.args, self.__dict__)


class NotFoundError(AppError):
    code = "not_found"


class ConflictError(AppError):
    code = "conflict"


class InvalidError(AppError):
    code = "invalid"


class UnauthenticatedError(AppError):
    code = "unauthenticated"


class ForbiddenError(AppError):
    code = "forbidden"


class BusyError(AppError):
    """The request may succeed later: the store is full, locked or overloaded."""

    code = "busy"

    def __init__(self, message: str, *, retry_after_s: int = 1, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after_s = retry_after_s


class IntegrityFailureError(AppError):
    """Stored evidence does not match its digest or signature. Never retried."""

    code = "integrity_failure"


class InsufficientDataError(AppError):
    """A statistic is undefined for the rows at hand."""

    code = "insufficient_data"


def _restored(kind: type[AppError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> AppError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(facts)
    return error
