"""Steps of the metadata database's schema, and the one function that applies them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported where it is used: every command starts by importing this, few of them migrate.


def configuration(url: str) -> "Config":
    """Alembic's configuration for one database; the steps are next to this file."""
    from alembic.config import Config

    config = Config(attributes={"url": url})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(url: str) -> None:
    """Bring the database at `url` to the newest schema; from empty, or from any earlier step.

    Safe to call from several processes at once: one applies the steps, the others wait and find nothing to do.
    """
    from alembic import command

    command.upgrade(configuration(url), "head")


def check(url: str) -> None:
    """Compare the database at `url` with the mapped tables.

    Raises:
        alembic.util.CommandError: a table, column, index or constraint differs; the message lists them.
    """
    from alembic import command

    command.check(configuration(url))
