"""Detectors of a change in a stream of errors, updated one label at a time."""

from monitor.drift.stream.errors import ErrorStream

__all__ = ["ErrorStream"]
