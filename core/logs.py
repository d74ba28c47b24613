"""Structured logs: one JSON object a line on standard error. Payloads of events never go into a log line."""

import json
import logging
import sys
import traceback
from typing import Any

import structlog


def configure(level: str) -> None:
    """Set up logging of this process; called once by each entry point."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _shorten_exception,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it reports each tick
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OfLibraries())
    logging.basicConfig(level=level.upper(), handlers=[handler])


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(source=name)
    return bound


def without_values(error: BaseException) -> dict[str, Any]:
    """What a log may say of an exception: its kind and places, and those of the one that it came from.

    Never its message or the local variables: they quote rows, and so personal data, and hold keys.
    """
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    told: dict[str, Any] = {
        "error": type(error).__name__,
        "places": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told if before is None else told | {"after": without_values(before)}


def _shorten_exception(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    given = line.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    return line if error is None else {**line, "exception": without_values(error)}


class _OfLibraries(logging.Formatter):
    """Lines of libraries, in the form of our own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"level": record.levelname, "logger": record.name, "event": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = without_values(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)
