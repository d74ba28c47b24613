"""The table of packages in docs/otlp.md, read from the page."""

from dataclasses import dataclass
from typing import Final

from tests.forks import ROOT
from tests.senders.senders import SENDERS, Sender

PAGE: Final = ROOT / "docs" / "otlp.md"
_TITLE: Final = "## What each package sends"


@dataclass(frozen=True, slots=True)
class Documented:
    """A row of the table: the package with its version, how it is switched on, and what is stored."""

    package: str
    switches: str
    stored: tuple[str, ...]


def _rows() -> list[tuple[str, ...]]:
    section = PAGE.read_text().partition(_TITLE)[2].partition("\n## ")[0]
    lines = [line.strip().strip("|") for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.split("|")) for line in lines]


def heading() -> tuple[str, ...]:
    return _rows()[0]


def documented() -> dict[str, Documented]:
    """The rows, in the order of SENDERS, by name of the sender."""
    rows = [Documented(cells[0], cells[1], cells[2:]) for cells in _rows()[2:]]
    return dict(zip(SENDERS, rows, strict=True))


def switches(sender: Sender) -> str:
    """How a sender is switched on, as the table says it."""
    named = [f"`{sender.variant}`"] if sender.variant else []
    return ", ".join([*named, *(f"`{name}={value}`" for name, value in sender.switches.items())]) or "none"
