"""An evaluation with much to do ends between two windows, asks for the rest, and finds the same in the end."""

from sqlalchemy import delete, select

from core.jobs import EvaluateJob
from core.queue import Job
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Window
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import events_body, rows, spec

pytestmark = SQLITE_FIRST


def windows(site: Site, model: str) -> list[tuple[int, str, int]]:
    with site.database.read() as db:
        mine = select(Window).where(Window.model_id == store.model(db, model).id).order_by(Window.number)
        return [(w.number, w.verdict, w.rows) for w in db.scalars(mine)]


def is_asked_for(site: Site) -> bool:
    with site.database.write() as db:
        found = db.scalars(select(Job).where(Job.name == EvaluateJob.name, Job.state == "queued")).first()
        db.execute(delete(Job))
        return found is not None


def test_slices_of_an_evaluation_come_to_the_same_windows(site: Site) -> None:
    for model in ("whole", "sliced"):
        with site.database.write() as db:
            service.apply_spec(site, db, spec(model=model), "tester")
        receive(site, model, "events", Body(events_body(rows(3000)), NDJSON))
    evaluate(site, "whole")
    assert not is_asked_for(site)
    evaluate(site, "sliced", turn_s=0.0)
    calls = 1
    while is_asked_for(site):
        evaluate(site, "sliced", turn_s=0.0)
        calls += 1
        assert calls < 100
    assert calls > 5
    assert windows(site, "sliced") == windows(site, "whole")
    assert len(windows(site, "whole")) == 12
