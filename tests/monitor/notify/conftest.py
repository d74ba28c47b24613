"""A site with channels, and an alert of a real window to tell about."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from api.processes.deliveries import WATCH
from core import settings
from core.clock import ManualClock
from core.jobs import EvaluateJob
from monitor import service
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.jobs import evaluate
from monitor.notify.channels import channel
from monitor.notify.deliver import deliver_next
from monitor.site import Site
from tests.monitor.traffic import document, events_body, rows, spec

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"  # of 24 bytes
WHOLE = {"work__turn_s": "3600"}  # an evaluation that a test asks for judges every window, however busy the machine is
Configured = Callable[..., Site]


def webhook(address: str, secret: str = SECRET) -> str:
    return f"webhook+http://{address}/hook?secret={secret}"


@pytest.fixture
def configured(site: Site) -> Configured:
    """The site with channels and routes, given as environment variables without their prefix."""

    def load(**variables: str) -> Site:
        url = site.settings.database_url
        environ = {
            f"ASSAY_{name.upper()}": value for name, value in {**WHOLE, "notify__gather_s": "0", **variables}.items()
        }
        loaded = settings.load(environ, home=site.settings.home, db=settings.DbSettings.model_validate({"url": url}))
        return replace(site, settings=loaded)

    return load


def declare(site: Site, **changes: Any) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(**changes), "tester")


def send_rows(site: Site, count: int, *, start: int, shift: float = 0.0) -> None:
    """Send rows and judge the windows that they complete."""
    assert isinstance(site.clock, ManualClock)
    frame = rows(count, start=start, shift=shift)
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == count
    site.clock.move_to(site.clock.now() + timedelta(minutes=30))
    evaluate(site, EvaluateJob(model="loans"))


def alarm(site: Site, **changes: Any) -> None:
    """A model whose amounts move after its reference: one drift alert."""
    declare(site, **changes)
    send_rows(site, 1500, start=0)
    send_rows(site, 500, start=1500, shift=3.0)


def deliver(site: Site, name: str, *, worker: str = "tester") -> bool:
    return deliver_next(site, channel(site.settings, name), WATCH, worker=worker)


__all__ = ["alarm", "configured", "declare", "deliver", "document", "send_rows", "webhook"]
