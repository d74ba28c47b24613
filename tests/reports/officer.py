"""A quarter of credit decisions by sex and age, with a small group, unknown membership and outcomes that wait."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor import service
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.windows.evaluate import evaluate

BEGIN = datetime(2026, 7, 1, tzinfo=UTC)
END = datetime(2026, 10, 1, tzinfo=UTC)
ROWS = 1800  # 1 each 50 minutes, about 62 days
COLUMNS: dict[str, Any] = {
    "income": {"role": "input", "type": "number"},
    "sex": {"role": "protected", "type": "category"},
    "age": {"role": "protected", "type": "number", "edges": [25, 40]},
    "score": {"role": "score", "type": "number", "positive": "approved"},
    "decision": {"role": "prediction", "type": "category"},
    "repaid": {"role": "outcome", "type": "category"},
}
RULES: list[dict[str, Any]] = [
    {"metric": "demographic_parity_ratio", "by": ["sex"], "min": 0.8},
    {"metric": "equalized_odds_difference", "by": ["sex"], "max": 0.5},
]


def document(**changes: Any) -> dict[str, Any]:
    monitors = {"windows": {"rows": 300}, "false_alarms": {"alpha": 0.01}, "drift": {"columns": ["income"]}}
    return {
        "model": "credit", "task": "classification", "owner": "risk@example.com", "purpose": "decide credit",
        "columns": COLUMNS, "baseline": {"rows": "first 300"}, "monitors": monitors | {"fairness": RULES},
    } | changes  # fmt: skip


def decisions(rows: int = ROWS) -> list[dict[str, Any]]:
    """Sex A is approved once in ten rows, B about once in five; every twentieth row has no sex, and 18 are of C."""
    found = []
    for i in range(rows):
        sex = None if i % 20 == 7 else "C" if i % 100 == 3 else "AB"[i % 2]
        approved = {"A": i % 20 == 0, "B": i % 10 == 5, "C": i % 200 == 3, None: False}[sex]
        found.append(
            {
                "event_id": f"d{i}", "ts": (BEGIN + timedelta(minutes=50 * i)).isoformat(), "version": "v1",
                "income": (i * 37 % 101) / 101, "sex": sex, "age": 18 + i * 7 % 50, "score": (i * 13 % 97) / 97,
                "decision": "approved" if approved else "refused",
            }
        )  # fmt: skip
    return found


def tell(site: Site, rows: int = ROWS, **changes: Any) -> list[dict[str, Any]]:
    """Declare the model, send its decisions, and the outcomes of three in four."""
    with site.database.write() as db:
        service.apply_spec(site, db, parse_spec(document(**changes)), "tester")
    made = decisions(rows)
    outcomes = [
        {"event_id": row["event_id"], "repaid": "approved" if int(row["event_id"][1:]) % 3 else "refused"}
        for row in made
        if int(row["event_id"][1:]) % 4
    ]
    receive(site, "credit", "events", Body(lines(made), NDJSON))
    receive(site, "credit", "outcomes", Body(lines(outcomes), NDJSON))
    evaluate(site, "credit")
    return made


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
