"""One open installation: settings, stores, clock, keys and cache, opened once when a process starts."""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.cache import Cache
from core.clock import Clock, SystemClock
from core.db import Database
from core.settings import Settings
from governance.binding.session import bind_sessions
from governance.ledger.checkpointing import issue_checkpoint
from governance.ledger.extends import places_of
from governance.ledger.installation import settle
from governance.ledger.keys import Keys, earlier_vkeys, load_or_create
from governance.tables import LedgerCheckpoint
from monitor.events.store import EventStore


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

    def close(self) -> None:
        self.events.close()
        self.database.dispose()


def open_site(settings: Settings, clock: Clock | None = None) -> Site:
    """Open the stores of an installation; its home folder and keys are created on first use. Does not migrate.

    A home folder that was copied since its last start gets an origin of its own; one that was moved records it.
    """
    home = settings.home_dir
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
        events=EventStore(settings.lake_uri, home, keys.subject),
        clock=clock,
        keys=keys,
    )
