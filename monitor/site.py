"""One open installation: settings, stores, clock, keys and cache, opened once when a process starts."""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.cache import Cache
from core.clock import Clock, SystemClock
from core.db import Database
from core.settings import Settings
from governance.anchors.kinds import anchors_of
from governance.binding.session import bind_sessions
from governance.ledger.checkpointing import issue_checkpoint, latest_checkpoint
from governance.ledger.extends import places_of
from governance.ledger.installation import settle
from governance.ledger.keys import Keys, earlier_vkeys, load_or_create
from governance.ledger.tree import StoredTree
from governance.ledger.witnessing import Asked, Witness, ask, check_witnesses
from governance.tables import LedgerCheckpoint
from monitor.events.store import EventStore
from monitor.judged import judged_in


@dataclass(frozen=True)
class Site:
    settings: Settings
    database: Database
    artifacts: ArtifactStore
    events: EventStore
    clock: Clock
    keys: Keys
    cache: Cache = field(default_factory=Cache)

    def sign_ledger(self, db: Session, *, whole: bool = False) -> LedgerCheckpoint:
        """Sign the committed head; `issue_checkpoint` says what it checks before and what it raises."""
        return issue_checkpoint(
            db, key=self.keys.signing, places=places_of(self.settings), now=self.clock.now(),
            earlier=earlier_vkeys(self.settings.home_dir), whole=whole,
        )  # fmt: skip

    def ask_witnesses(self) -> list[tuple[Witness, Asked]]:
        """Ask every configured witness for its cosignature on the newest checkpoint, unless it has given it."""
        with self.database.read() as db:
            newest = latest_checkpoint(db)
        if newest is None:
            return []
        size = newest.size

        def prove(first: int) -> list[bytes]:
            with self.database.read() as db:
                return list(StoredTree(db, size).consistency_proof(first, size))

        home, now = self.settings.home_dir, self.clock.now()
        witnesses = map(Witness.parse, self.settings.ledger.witnesses)
        return [(one, ask(one, newest.note, home=home, prove=prove, now=now)) for one in witnesses]

    def close(self) -> None:
        self.events.close()
        self.database.dispose()


def open_site(settings: Settings, clock: Clock | None = None) -> Site:
    """Open the stores of an installation; its home folder and keys are created on first use. Does not migrate.

    A home folder that was copied since its last start gets an origin of its own; one that was moved records it.
    """
    anchors_of(settings.anchors)  # one that cannot be used is refused here, not a minute later
    home = settings.home_dir
    check_witnesses(settings.ledger)
    home.mkdir(parents=True, exist_ok=True)
    database, clock = Database(settings.database_url, pool_size=settings.db.pool_size), clock or SystemClock()
    if settings.db.url is None:  # elsewhere, a ledger is not copied with the home folder
        settle(home, database, ledger=settings.ledger, places=places_of(settings), now=clock.now())
    keys = load_or_create(home, settings.ledger.origin, settings.signer)
    bind_sessions(database, clock)
    return Site(
        settings=settings,
        database=database,
        artifacts=ArtifactStore(home / "artifacts"),
        events=EventStore(settings.lake_uri, home, keys.subject, judged_in(database)),
        clock=clock,
        keys=keys,
    )
