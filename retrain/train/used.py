"""What a process of a run has used, as it keeps it beside its output."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

USED_FILE: Final = "used.json"


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used, all attempts at it together. Energy is estimated; `method` says how."""

    seconds: float = 0.0  # of the processes, loading and saving included; of each card
    train_seconds: float = 0.0  # of training itself
    kwh: float | None = 0.0
    co2e_kg: float | None = 0.0
    method: str = ""
    reason: str | None = None  # why a figure is null

    def record(self) -> dict[str, Any]:
        return asdict(self) | {"estimated": True}

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> "Used":
        kept = {name: value for name, value in (record or {}).items() if name != "estimated"}
        return cls(**kept)


def read_used(folder: Path) -> Used:
    """What the processes of a folder have used; nothing where nothing was written."""
    try:
        return Used.of(json.loads((folder / USED_FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return Used()
