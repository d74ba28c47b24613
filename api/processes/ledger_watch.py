"""Sign the ledger as it grows, and say so where it cannot be signed, because it does not extend what was signed before.

Then nothing is lost and nothing stops but signing: rows are accepted, windows are judged, entries are added, and no
checkpoint, report or bundle is made until a person has recovered the ledger.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.processes import system_alarms
from core.errors import IntegrityFailureError
from core.logs import logger
from governance.ledger.checkpointing import latest_checkpoint
from governance.ledger.extends import LedgerRefusedError
from governance.ledger.last_seen import claimed_size, last_seen_problem, read_if_readable
from governance.ledger.read import ledger_size
from governance.ledger.refusal import open_refusal, record_refusal, record_resumed
from governance.ledger.signers.base import SignerUnreachableError
from monitor.alerts.headlines import Alarm
from monitor.alerts.severity import Severity
from monitor.site import Site

REFUSED: Final = "unsigned_ledger"
LAST_SEEN: Final = "last_seen_file"
WITNESS: Final = "witness"
WITNESS_STANDS: Final = timedelta(minutes=15)  # an unreachable witness is told after so long
WHOLE_S: Final = 3600  # between two looks at every checkpoint there is
log = logger("api.processes.ledger_watch")


def sign_if_due(site: Site, last: datetime, now: datetime) -> None:
    """Sign the log if it has grown and it is time, or if it may have shrunk.

    Args:
        last: the tick before this one.
    """
    with site.database.read() as db:
        newest, size, refused = latest_checkpoint(db), ledger_size(db), open_refusal(db)
    signed = 0 if newest is None else newest.size
    every = site.settings.ledger.checkpoint_s
    shrunk = max(signed, claimed_size(read_if_readable(site.settings.last_seen_file))) > size
    if refused is not None or shrunk:
        if system_alarms.passed(every if refused else min(every, system_alarms.WATCH_S), 0, last, now):
            sign_and_tell(site, whole=True)
        return
    if size and system_alarms.passed(WHOLE_S, 0, last, now):
        sign_and_tell(site, whole=True)
        return
    if size == signed:
        return
    # A checkpoint of the future was issued before the clock was set back.
    if newest is None or not timedelta() <= now - newest.at < timedelta(seconds=every):
        sign_and_tell(site)


def sign_and_tell(site: Site, *, whole: bool = False) -> str | None:
    """Sign what is committed. Returns why it was not signed, in words, after an alert and an entry have said so.

    Raises:
        IntegrityFailureError: the stored entries do not agree among themselves.
    """
    try:
        with site.database.write() as db:
            if ledger_size(db):
                site.sign_ledger(db, whole=whole)
    except LedgerRefusedError as error:
        log.warning("the ledger is not signed", reason=error.message)
        with site.database.write() as db:
            if record_refusal(db, error, site.clock.now()):
                alarm = Alarm(system_alarms.MONITOR, REFUSED, "", None, None, error.message, "critical")
                system_alarms.raise_alarm(site, db, alarm, site.clock.now())
        return error.message
    with site.database.write() as db:
        if record_resumed(db, site.clock.now()):
            log.info("the ledger is signed again")
        system_alarms.end(site, db, REFUSED, "", site.clock.now())
    return None


def sign_at_start(site: Site) -> str | None:
    """As `sign_and_tell`, over every checkpoint there is; entries that disagree among themselves are told too.

    A signer that cannot be asked is no reason to wait: entries are kept, and the next tick signs them.
    """
    try:
        return sign_and_tell(site, whole=True)
    except (IntegrityFailureError, SignerUnreachableError) as error:
        log.warning("the ledger is not signed", reason=error.message)
        return error.message


def watch(site: Site, db: Session, now: datetime) -> None:
    """End the alert about a refusal once that is over; open one while the last-seen file lags, and end it."""
    if open_refusal(db) is None:
        system_alarms.end(site, db, REFUSED, "", now)
    newest = latest_checkpoint(db)
    problem = None if newest is None else last_seen_problem(site.settings.last_seen_file, newest.size)
    if problem is None:
        system_alarms.end(site, db, LAST_SEEN, "", now)
        return
    severity: Severity = "warning"
    sentence = (
        f"A ledger that loses its end could be signed unnoticed: {problem}. Let the service write there, or set "
        "ASSAY_LEDGER__LAST_SEEN to a file that it can write, best on another disk; everything else goes on."
    )
    system_alarms.raise_alarm(
        site, db, Alarm(system_alarms.MONITOR, LAST_SEEN, "", None, None, sentence, severity), now
    )


def ask_witnesses(site: Site) -> None:
    """Ask for cosignatures, and look after the alert about each witness; a fault in one must not stop the next try."""
    try:
        asked = site.ask_witnesses()
    except Exception:
        log.exception("witnesses could not be asked")
        return
    now = site.clock.now()
    with site.database.write() as db:
        for witness, known in asked:
            about = witness.key.label
            if not known.problem:
                system_alarms.end(site, db, WITNESS, about, now)
                continue
            if not known.forked and now - datetime.fromisoformat(known.failing_since) < WITNESS_STANDS:
                continue
            severity: Severity = "critical" if known.forked else "warning"
            then = (
                "Whoever trusts it will not trust this ledger: find out which of the two is right (assay verify)"
                if known.forked
                else "It is asked again; everything else goes on"
            )
            sentence = f"The witness {about} does not cosign: {known.problem}. {then}."
            alarm = Alarm(system_alarms.MONITOR, WITNESS, about, None, None, sentence, severity, (about,))
            system_alarms.raise_alarm(site, db, alarm, now)


def problems(db: Session) -> list[str]:
    """What is wrong, in words that name no file: for a readiness check without a key."""
    refused = open_refusal(db)
    if refused is None:
        return []
    largest = max((one["size"] for one in refused["body"]["checkpoints"]), default=0)
    return [
        f"the ledger is not signed: with {refused['body']['entries']} entries it does not extend a signed checkpoint "
        f"of {largest}; if the database was restored, run `assay ledger recover`, else `assay verify`"
    ]
