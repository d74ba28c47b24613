"""A site as it was, to go back to or to lay somewhere else."""

import shutil
from pathlib import Path

from monitor.site import Site
from tests import postgres


class Image:
    """Copies of a site's home folder and of its database; the site must have let go of both."""

    def __init__(self, site: Site, folder: Path, server: postgres.Server | None) -> None:
        self._folder = folder
        self._server = server if site.database.engine.dialect.name == "postgresql" else None
        self._name = f"image_{site.database.engine.url.database}"
        shutil.copytree(site.settings.home_dir, folder)
        if self._server is not None:
            self._server.create(self._name, template=str(site.database.engine.url.database))

    def lay(self, site: Site) -> None:
        """Replace the site's home folder and its database, and forget what was signed since."""
        home = site.settings.home_dir
        site.settings.last_seen_file.unlink(missing_ok=True)  # else the older ledger would not be signed any more
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self._folder, home)
        if self._server is not None:
            name = str(site.database.engine.url.database)
            self._server.drop(name)
            self._server.create(name, template=self._name)
