"""The example rows of an alert, read as they are stored now."""

import json
from typing import Any

from monitor.site import Site
from monitor.tables import Alert


def examples(site: Site, alert: Alert, model: str) -> list[dict[str, Any]]:
    """The evidence of an alert, with the current values of its farthest rows; None for a row that is gone."""
    import polars as pl

    kept = (alert.confirmation or {}).get("evidence")
    if kept is None:
        return []
    found: list[dict[str, Any]] = json.loads(site.artifacts.get(kept))
    wanted = {row["event_id"] for part in found for row in part["farthest"]}
    rows = site.events.scan(model, from_seq=(alert.confirmation or {})["window"][0])  # late rows have higher numbers
    chosen = rows.filter(pl.col("event_id").is_in(list(wanted))).select("event_id", *(p["column"] for p in found))
    values = {row["event_id"]: row for row in chosen.collect().iter_rows(named=True)}
    for part in found:
        for row in part["farthest"]:
            row["value"] = values.get(row["event_id"], {}).get(part["column"])
    return found
