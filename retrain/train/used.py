"""What a process of a run has used, as it keeps it beside its output."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from retrain.train.errors import EnergyLimitError, LimitError, TimeLimitError

USED_FILE: Final = "used.json"
KEEP_S: Final = 1.0  # between two records of what was used


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


def limit_passed(
    used: Used | None, took_s: float, *, max_seconds: float | None, max_kwh: float | None, at: str, fewer: str
) -> LimitError | None:
    """The error of the limit that a training is past; None while it is within both.

    Args:
        used: what was read last; None without a meter, when energy is not limited.
        took_s: seconds of training, those of earlier attempts included.
        at: where training stands, such as `at step 3 of 30`.
        fewer: what a person may train less of, such as `rows or epochs`.
    """
    if max_seconds is not None and took_s > max_seconds:
        return TimeLimitError(
            f"max_gpu_hours: {max_seconds:g} s of training were over {at}; raise retrain.envelope.max_gpu_hours, or "
            f"train fewer {fewer}",
            limit="max_gpu_hours", declared=max_seconds / 3600, measured=took_s / 3600,
        )  # fmt: skip
    kwh = None if used is None else used.kwh
    if max_kwh is not None and kwh is not None and kwh > max_kwh:
        return EnergyLimitError(
            f"max_kwh: {kwh:.4g} kWh were used {at}, as estimated, {max_kwh:g} are allowed; raise "
            f"retrain.envelope.max_kwh, or train fewer {fewer}",
            limit="max_kwh", declared=max_kwh, measured=kwh,
        )  # fmt: skip
    return None
