"""Send what the outbox holds: one thread for each channel, so that a receiver that hangs delays nobody else."""

import os
import socket
import time
from typing import Final

from sqlalchemy.orm import Session

from core.background import BackgroundThread
from core.logs import logger
from monitor.alerts import undelivered
from monitor.notify import heartbeat, held, outbox
from monitor.notify.channels import Channel, channels
from monitor.notify.deliver import Watch, deliver_next
from monitor.notify.tables import OutboxMessage
from monitor.site import Site
from reports import deliveries as reports

EVERY_S: Final = 0.5
UPKEEP_S: Final = 10.0  # between two looks at held messages and at those of channels that are gone
FORGET_S: Final = 3600.0
log = logger("api.processes.deliveries")


def _delivered(site: Site, db: Session, message: OutboxMessage) -> None:
    undelivered.delivered(site, db, message)
    reports.record_delivered(site, db, message)


def _given_up(site: Site, db: Session, message: OutboxMessage) -> None:
    undelivered.given_up(site, db, message)
    reports.record_given_up(site, db, message)


WATCH: Final = Watch(delivered=_delivered, given_up=_given_up)


class _ChannelThread(BackgroundThread):
    def __init__(self, site: Site, channel: Channel) -> None:
        super().__init__(f"channel-{channel.name}", every_s=EVERY_S)
        self._site, self._channel = site, channel
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{channel.name}"

    def step(self) -> None:
        while not self.stopping and deliver_next(self._site, self._channel, WATCH, worker=self._worker):
            pass


class _UpkeepThread(BackgroundThread):
    """Releases what maintenance held, gives up messages of channels that are gone, deletes old ones."""

    def __init__(self, site: Site) -> None:
        super().__init__("outbox-upkeep", every_s=UPKEEP_S)
        self._site = site
        self._forgotten_at = 0.0

    def step(self) -> None:
        with self._site.database.write() as db:
            held.release(self._site, db)
            for dead in outbox.give_up_unset(self._site, db):
                _given_up(self._site, db, dead)
            if time.monotonic() - self._forgotten_at >= FORGET_S:
                outbox.forget(db, self._site.clock.now())
                self._forgotten_at = time.monotonic()


class _HeartbeatThread(BackgroundThread):
    """Asks for the outside monitor while Assay works, and only logs when it does not answer."""

    def __init__(self, site: Site) -> None:
        super().__init__("heartbeat", every_s=site.settings.heartbeat.every_s)
        self._site = site

    def step(self) -> None:
        url = self._site.settings.heartbeat.url
        assert url is not None  # the thread is started only then
        with self._site.database.read() as db:
            works = heartbeat.works(db, self._site.clock.now())
        if not works:
            log.warning("no heartbeat is sent: no evaluation has ended lately")
        elif (problem := heartbeat.beat(url)) is not None:
            log.warning("the outside monitor did not take the heartbeat", reason=problem)


def start(site: Site) -> list[BackgroundThread]:
    """Start every thread of this worker that sends something."""
    threads: list[BackgroundThread] = [_UpkeepThread(site)]
    threads += [_ChannelThread(site, channel) for channel in channels(site.settings).values()]
    if site.settings.heartbeat.url is not None:
        threads.append(_HeartbeatThread(site))
    for thread in threads:
        thread.start()
    return threads


def stop(threads: list[BackgroundThread], *, limit_s: float) -> None:
    """Let each end its step, for at most this long in all; a message under way is sent again after its lease."""
    until = time.monotonic() + limit_s
    for thread in threads:
        thread.stop(max(0.0, until - time.monotonic()))
