"""The example rows of an alert, read as they are stored now."""

import json
from collections.abc import Sequence
from typing import Any

from monitor.finding_tables import AlertFinding
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Alert, Window


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


def typical_rows(
    site: Site, model: str, window: Window, finding: AlertFinding, spec: ModelSpec, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows typical of what drove an alert, with these columns, redacted by every rule; None for a row that is gone.

    Rules apply to every text, also of columns for which the spec declares none.
    """
    if not finding.examples:
        return []
    import polars as pl

    from monitor.redact.columns import every_rule, redacted, redaction_key

    wanted = [example["event_id"] for example in finding.examples]
    rows = site.events.scan(model, from_seq=window.from_seq, to_seq=window.to_seq)
    there = [name for name in columns if name in rows.collect_schema().names()]
    chosen = rows.filter(pl.col("event_id").is_in(wanted)).select("event_id", *there).collect()
    rules = dict.fromkeys(there, every_rule(spec.redact))
    safe = redacted(chosen, rules, redaction_key(site.keys.subject)).unique("event_id", keep="last")
    values = {row.pop("event_id"): row for row in safe.iter_rows(named=True)}
    return [{**example, "values": values.get(example["event_id"])} for example in finding.examples]
