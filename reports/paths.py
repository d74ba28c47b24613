"""What a report leaves out of records it quotes: where files lay on the machine that made them.

A path says nothing to an auditor and tells strangers how the host is laid out; the digest identifies what a file held.
"""

import re
from typing import Any, Final

_ABSOLUTE: Final = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"<>|,;:()]+){2,}[/\\]?")
_NAMES: Final = frozenset({"labels", "labels_new", "labels_left_out", "labels_unseen"})  # names that people gave


def without_paths(value: Any) -> Any:
    """A record with every absolute path cut down to its last part; relative names and labels stay as they are."""
    if isinstance(value, str):
        return _ABSOLUTE.sub(lambda m: re.split(r"[/\\]", m[0].rstrip("/\\"))[-1], value)
    if isinstance(value, dict):
        return {k: v if k in _NAMES else without_paths(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(v) for v in value]
    return value
