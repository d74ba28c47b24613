"""Who may do what, since when, by whom, last used: one line for each person and key, for an access review."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from governance.access.api_keys import all_keys
from governance.access.people import all_people
from governance.access.rights import differences, person_differences, rights_of
from governance.access.rights_entries import (
    ACTOR_PREFIX,
    CREATED,
    KEY_RIGHTS,
    PERSON_CREATED,
    PERSON_RIGHTS,
)
from governance.access.roles import PERMISSIONS, Role
from governance.ledger.read import ledger_entries
from governance.tables import ApiKey, Person

COLUMNS: Final = (
    "kind", "id", "name", "person", "role", "models", "permissions", "state", "signs_in_with", "created_at",
    "created_by", "rights_since", "rights_by", "expires_at", "last_used_at", "ended_at", "differs_from_ledger",
)  # fmt: skip


def access_review(db: Session, now: datetime, used: Mapping[str, datetime]) -> list[dict[str, Any]]:
    """One line for each person and key, people first; `models` is None for all.

    Args:
        used: uses of keys that the table does not have yet, by prefix.
    """
    rights, since = rights_of(db), _since(db)
    lines = [
        _line(row, "person", row.id, row.name, row.id, since.get(ACTOR_PREFIX + row.id))
        | {
            "state": "disabled" if row.disabled_at else "in force", "signs_in_with": _ways(row), "expires_at": None,
            "last_used_at": row.used_at, "ended_at": row.disabled_at,
            "differs_from_ledger": "; ".join(person_differences(rights, row)),
        }
        for row in all_people(db)
    ]  # fmt: skip
    for key in all_keys(db):
        who = rights.person_of(key.owner)
        expired = key.expires_at is not None and now >= key.expires_at
        ended = "revoked" if key.revoked_at else "expired" if expired else ""
        held = who is not None and who.revoked_at is not None
        lines.append(
            _line(key, "key", key.prefix, key.name, who.id if who else None, since.get(f"key:{key.prefix}"))
            | {
                "state": ended or ("person disabled" if held else "in force"), "signs_in_with": "key",
                "expires_at": key.expires_at, "last_used_at": used.get(key.prefix, key.used_at),
                "ended_at": key.revoked_at or (key.expires_at if expired else None),
                "differs_from_ledger": "; ".join(differences(rights, key)),
            }
        )  # fmt: skip
    return lines


def as_csv(lines: list[dict[str, Any]]) -> str:
    """The review as CSV; no cell begins as a formula does."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow([_cell(name, line[name]) for name in COLUMNS])
    return out.getvalue()


def _line(
    row: ApiKey | Person, kind: str, named: str, name: str | None, who: str | None, since: tuple[str, str] | None
) -> dict[str, Any]:
    return {
        "kind": kind, "id": named, "name": name, "person": who, "role": row.role, "models": row.models,
        "permissions": sorted(p.value for p in PERMISSIONS[Role(row.role)]) if row.role in set(Role) else [],
        "created_at": row.created_at, "created_by": row.created_by, "rights_since": since[0] if since else None,
        "rights_by": since[1] if since else None,
    }  # fmt: skip


def _since(db: Session) -> dict[str, tuple[str, str]]:
    """When and by whom the rights of each key and person were last given, by subject."""
    kinds = (CREATED, KEY_RIGHTS, PERSON_CREATED, PERSON_RIGHTS)
    return {e["subject"]: (e["at"], e["actor"]) for e in ledger_entries(db, kinds)}


def _ways(row: Person) -> str:
    ways = (
        ("temporary password" if row.temporary else "password") if row.password else "", "code" if row.totp else "",
        "provider" if row.subject else "",
    )  # fmt: skip
    return ", ".join(way for way in ways if way) or "nothing"


def _cell(name: str, value: Any) -> str:
    if name == "models":
        return "*" if value is None else " ".join(value)
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat()
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
