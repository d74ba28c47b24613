"""The threads that send: a receiver that hangs delays nobody else, and a worker stops although one hangs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.processes import deliveries
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.notify.conftest import Configured, alarm, configured, webhook
from tests.monitor.notify.receivers import hang, http_receiver

__all__ = ["configured"]


@contextmanager
def sending(site: Site) -> Iterator[None]:
    threads = deliveries.start(site)
    try:
        yield
    finally:
        began = time.monotonic()
        deliveries.stop(threads, limit_s=1)
        assert time.monotonic() - began < 20  # not the minute for which one hangs


def until(holds: Callable[[], bool], limit_s: float = 60) -> bool:
    deadline = time.monotonic() + limit_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@SQLITE_FIRST
def test_one_channel_hangs_and_another_delivers_meanwhile(configured: Configured) -> None:
    with http_receiver(hang) as stuck, http_receiver() as fine:
        site = configured(channels__a=webhook(stuck.address), channels__b=webhook(fine.address), notify__timeout_s="60")
        alarm(site)
        with sending(site):
            assert until(lambda: len(stuck.posted) == 1)
            assert until(lambda: len(fine.posted) >= 1)
            assert len(stuck.posted) == 1  # which still hangs
        with site.database.read() as db:
            states = {m.channel: m.state for m in db.query(OutboxMessage)}
        assert states["a"] == "sending"  # sent again once the lease of this worker has ended


@SQLITE_FIRST
def test_a_site_without_channels_or_heartbeat_has_nothing_to_send(site: Site) -> None:
    with sending(site):
        alarm(site)
    with site.database.read() as db:
        assert db.query(OutboxMessage).count() == 0
