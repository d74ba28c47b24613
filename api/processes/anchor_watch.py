"""Alarms about anchors that take no checkpoint, and about a ledger that is not signed because its key is away."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.processes import system_alarms
from governance.anchors.deliver import Standing, standings
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.read import entry_time, ledger_size
from governance.ledger.refusal import open_refusal
from monitor.alerts import store
from monitor.alerts.headlines import Alarm
from monitor.site import Site

ANCHOR: Final = "silent_anchor"
SIGNER: Final = "unreachable_signer"


def watch(site: Site, db: Session, now: datetime) -> None:
    """Open an alert for each anchor that fails for too long, and for entries that wait too long to be signed."""
    limit = timedelta(seconds=site.settings.ledger.anchor_alarm_s)
    silent = {s.name: s for s in _failing(site, db) if s.failing_since and now - s.failing_since >= limit}
    for name, state in silent.items():
        sentence = (
            f"Anchor {name} has taken no checkpoint since {_at(state.at)}: {state.error}. {state.waiting} wait for it "
            "and are handed over when it answers; until then it is no witness of them."
        )
        system_alarms.raise_alarm(
            site, db, Alarm(system_alarms.MONITOR, ANCHOR, name, None, None, sentence, "warning", (name,)), now
        )
    for alert in store.system_alerts(db, system_alarms.MONITOR, ANCHOR):
        if alert.state != "resolved" and alert.column not in silent:
            system_alarms.end(site, db, ANCHOR, alert.column, now)
    waiting = unsigned_since(db)
    if waiting is not None and now - waiting >= limit and site.settings.signer.kind != "file":
        sentence = (
            f"The ledger has not been signed since {_at(waiting)}: its key does not answer. Entries are kept, and are "
            "signed as soon as it does; no report is made until then."
        )
        alarm = Alarm(system_alarms.MONITOR, SIGNER, "", None, None, sentence, "critical")
        system_alarms.raise_alarm(site, db, alarm, now)
    else:
        system_alarms.end(site, db, SIGNER, "", now)


def unsigned_since(db: Session) -> datetime | None:
    """When the first entry was added that no checkpoint covers; None if all are covered."""
    newest, size = latest_checkpoint(db), ledger_size(db)
    signed = 0 if newest is None else newest.size
    return entry_time(db, signed) if size > signed else None


def problems(site: Site, db: Session) -> list[str]:
    """What is wrong, in words that name no address: for a readiness check without a key."""
    now, found = site.clock.now(), []
    failing = [s.name for s in _failing(site, db)]
    if failing:
        found.append(f"anchors take no checkpoints: {', '.join(failing)}; `assay ledger status` says why")
    waiting = unsigned_since(db) if open_refusal(db) is None else None
    if waiting is not None and now - waiting > 3 * timedelta(seconds=site.settings.ledger.checkpoint_s):
        found.append(f"the ledger has entries that wait for a signature since {_at(waiting)}; `assay ledger status`")
    return found


def _failing(site: Site, db: Session) -> list[Standing]:
    return [s for s in standings(db, list(site.settings.anchors)) if s.failing_since is not None]


def _at(at: datetime | None) -> str:
    return "it was set" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
