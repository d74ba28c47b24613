"""One open installation: settings, stores, clock, keys and cache, opened once when a process starts."""

from dataclasses import dataclass, field

from core.artifacts import ArtifactStore
from core.cache import Cache
from core.clock import Clock, SystemClock
from core.db import Database
from core.settings import Settings
from governance.ledger.keys import Keys, load_or_create
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

    def close(self) -> None:
        self.events.close()
        self.database.dispose()


def open_site(settings: Settings, clock: Clock | None = None) -> Site:
    """Open the stores of an installation; its home folder and keys are created on first use. Does not migrate."""
    home = settings.home_dir
    home.mkdir(parents=True, exist_ok=True)
    keys = load_or_create(home, settings.ledger.origin)
    return Site(
        settings=settings,
        database=Database(settings.database_url, pool_size=settings.db.pool_size),
        artifacts=ArtifactStore(home / "artifacts"),
        events=EventStore(settings.lake_uri, home, keys.subject),
        clock=clock or SystemClock(),
        keys=keys,
    )
