"""Results as JSON lines."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.canonical import timestamp

HIGHER = ("_per_s", "accuracy")  # ends of metrics of which more is better


def machine() -> str:
    return f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}, load average {os.getloadavg()[0]:.1f}"


def write_lines(
    out: Path,
    case: str,
    found: Mapping[str, tuple[float, str]],
    *,
    peer: str | None = None,
    beside: Mapping[str, float] | None = None,
    bench: str = "ingest",
    **facts: Any,
) -> None:
    """Append one JSON line per metric, {metric: (value, unit)}, with the peer's value and the ratio if there is one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        for metric, (value, unit) in found.items():
            other = (beside or {}).get(metric)
            better = (value, other) if metric.endswith(HIGHER) else (other, value)
            ratio = better[0] / better[1] if other is not None and better[0] is not None and better[1] else None
            line = {
                "bench": bench, "case": case, "metric": metric, "value": round(value, 4), "unit": unit,
                "peer": peer if other is not None else None, "peer_value": None if other is None else round(other, 4),
                "ratio": None if ratio is None or unit == "rows" else round(ratio, 3),
                "at": timestamp(datetime.now(UTC)), "machine": machine(), **facts,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
