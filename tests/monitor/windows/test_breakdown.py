"""KPIs by version, segment and agent, and which agent got worse first and explains the change."""

import numpy as np
import polars as pl
import pytest

from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Measurement
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec


def measured(site: Site) -> list[dict[str, Measurement]]:
    with site.database.read() as db:
        model = store.model(db, "loans").id
        return [
            {m.segment: m for m in store.window_measurements(db, w.id) if (m.monitor, m.metric) == ("kpi", "accuracy")}
            for w in store.windows(db, model)
        ]


def traffic(count: int, *, start: int, wrong: float) -> pl.DataFrame:
    """Planner and writer answer; the share `wrong` of the planner's answers is flipped."""
    random = np.random.default_rng(start + 7)
    frame = rows(count, start=start, right=0.95)
    agent = random.choice(["planner", "writer"], count, p=[0.4, 0.6])
    turned = (agent == "planner") & (random.random(count) < wrong)
    answer = np.where(turned, np.where(frame["decision"] == "yes", "no", "yes"), frame["decision"].to_numpy())
    region = np.where(np.arange(count) < 10, "tiny", frame["region"].to_numpy())
    return frame.with_columns(
        pl.Series("agent", agent), pl.Series("decision", answer), pl.Series("region", region),
        pl.when(pl.int_range(count) % 2 == 0).then(pl.lit("v1")).otherwise(pl.lit("v2")).alias("version"),
    )  # fmt: skip


@SQLITE_FIRST
def test_the_agent_that_got_worse_is_named_with_what_it_explains(site: Site) -> None:
    base = document()
    columns = base["columns"] | {"agent": {"role": "agent", "type": "category"}}
    monitors = base["monitors"] | {"windows": {"rows": 500}, "fairness": []}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(columns=columns, monitors=monitors), "tester")
    for frame in (traffic(1500, start=0, wrong=0.0), traffic(500, start=1500, wrong=0.5)):
        receive(site, "loans", "events", Body(events_body(frame), NDJSON))
        receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
        evaluate(site, "loans")
    quiet, broken = measured(site)[-2:]
    assert set(broken) == {
        "", "version=v1", "version=v2", "region=north", "region=south", "region=tiny", "agent=planner", "agent=writer",
    }  # fmt: skip
    assert broken["region=tiny"].value is None
    assert "10 usable rows" in (broken["region=tiny"].reason or "")
    planner, writer = broken["agent=planner"].value, broken["agent=writer"].value
    assert planner is not None
    assert writer is not None
    assert planner < 0.7 < writer
    assert quiet[""].details["agents"]["statement"] == "no agent got worse"
    found = broken[""].details["agents"]
    assert found["degraded"] == ["planner"]
    assert found["first"]["parts"] == ["planner"]
    assert found["parts"][0]["part"] == "planner"
    assert found["parts"][0]["explained"] == pytest.approx(1.0, abs=0.2)
    assert "planner got worse first" in found["statement"]
    assert "mainly through its rate" in found["statement"]
    # The whole is the mean of its parts, by their rows.
    value = broken[""].value
    assert value == pytest.approx(
        sum((broken[s].value or 0.0) * broken[s].n for s in ("agent=planner", "agent=writer")) / 500
    )
