"""When each key was last used: remembered by this process, written now and then, so that no request waits for it."""

from datetime import datetime
from typing import Final

from sqlalchemy import update

from core.background import BackgroundThread
from governance.tables import ApiKey
from monitor.site import Site

EVERY_S: Final = 60.0


class LastUses(BackgroundThread):
    """A thread that writes what requests have noted.

    Args:
        used: by prefix; requests add to it meanwhile.
    """

    def __init__(self, site: Site, used: dict[str, datetime]) -> None:
        super().__init__("last-uses", every_s=EVERY_S)
        self._site, self._used = site, used

    def step(self) -> None:
        found = {prefix: self._used.pop(prefix) for prefix in list(self._used)}
        if not found:
            return
        with self._site.database.write() as db:
            for prefix, at in found.items():
                db.execute(update(ApiKey).where(ApiKey.prefix == prefix).values(used_at=at))

    def stop(self, limit_s: float | None = None) -> None:
        """As every thread; what was noted last is written."""
        super().stop(limit_s)
        self.step()
