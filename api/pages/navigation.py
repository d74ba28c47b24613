"""The one navigation of all pages: its entries, who sees each, and which one a page belongs to."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from governance.access.roles import Caller, Permission

PATH: Final[ContextVar[str]] = ContextVar("path of the page that is being answered", default="")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `families` are the folders of templates, or single templates, of the pages that belong to it."""

    words: str
    path: str
    permission: Permission
    families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    words: str
    path: str
    current: str | None  # the value of aria-current: `page` for the page itself, `true` for one of its kind


ENTRIES: Final = (
    Entry("Overview", "/", Permission.READ, ("overview",)),
    Entry("Models", "/models", Permission.READ, ("models",)),
    Entry("Events", "/events", Permission.EVENTS_READ, ("events",)),
    Entry("Alerts", "/alerts", Permission.READ, ("alerts",)),
    Entry("Incidents", "/incidents", Permission.READ, ("incidents",)),
    Entry("Runs", "/runs", Permission.READ, ("runs",)),
    Entry("Approvals", "/approvals", Permission.READ, ("approvals", "runs/approvals.html")),
    Entry("Registry", "/registry", Permission.READ, ("registry", "runs/registry.html")),
    Entry("Datasets", "/datasets", Permission.READ, ("datasets", "lineage", "runs/datasets.html")),
    Entry("Reports", "/reports", Permission.READ, ("reports",)),
    Entry("Ledger", "/ledger", Permission.LEDGER_READ, ("ledger",)),
    Entry("Settings", "/settings", Permission.READ, ("settings",)),
)


def navigation(caller: Caller | None, template: str) -> list[Shown]:
    """The entries that the caller may open; the one that the page belongs to is marked."""
    if caller is None:
        return []
    family = template.partition("/")[0]
    exact = next((e for e in ENTRIES if template in e.families), None)
    own = exact or next((e for e in ENTRIES if family in e.families), None)
    here = PATH.get()
    return [
        Shown(e.words, e.path, "page" if e.path == here else "true" if e is own else None)
        for e in ENTRIES if caller.may(e.permission)
    ]  # fmt: skip
