"""Large bodies of one model leave a thread to the others, and rows that cannot be flushed take little of the room."""

import asyncio
import json
import threading
from typing import Any

import pytest

from api.http.arriving import OverloadedError
from api.http.intake import MOST_OF_ONE, Intake
from monitor import service
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import events_body, rows, spec

pytestmark = SQLITE_FIRST


def test_large_bodies_of_one_model_leave_a_thread_to_the_others(site: Site) -> None:
    async def run() -> int:
        intake, free, under_way = Intake(site), threading.Event(), list[int]()

        def wait() -> None:
            under_way.append(1)
            free.wait()

        busy = [asyncio.create_task(intake._submit(wait, "busy")) for _ in range(10)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(intake._submit(lambda: "stored", "other"), 60) == "stored"
        found = len(under_way)
        free.set()
        await asyncio.gather(*busy)
        await asyncio.to_thread(intake.stop)
        return found

    assert 1 <= asyncio.run(run()) <= MOST_OF_ONE


def test_a_table_that_cannot_be_flushed_fills_only_a_share(site: Site) -> None:
    with site.database.write() as db:
        for model in ("held", "sound"):
            service.apply_spec(site, db, spec(model=model), "tester")
    tight = site.settings.model_copy(update={"server": site.settings.server.model_copy(update={"max_unfolded_mb": 1})})
    small: Any = Site(tight, site.database, site.artifacts, site.events, site.clock, site.keys)

    async def fill() -> None:
        intake = Intake(small)
        try:
            await intake.store("held", "events", Body(events_body(rows(2000)), NDJSON))
            site.events.unflushed.held = {("held", "events")}  # as the flush found it
            await intake.store("sound", "events", Body(events_body(rows(10)), NDJSON))
            with pytest.raises(OverloadedError, match="rows of held cannot be moved into its tables"):
                await intake.store("held", "events", Body(json.dumps({}).encode(), NDJSON))
            site.events.settle("held")
            await intake.store("held", "events", Body(events_body(rows(10, start=2000)), NDJSON))
        finally:
            await asyncio.to_thread(intake.stop)

    asyncio.run(fill())
