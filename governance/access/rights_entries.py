"""What the entries of the ledger say of keys, people and sessions, one entry after the other. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from governance.access.owners import person

CREATED, REVOKED, OWNED = "key.created", "key.revoked", "key.owner_declared"
RECORDED: Final = "key.secrets_recorded"  # once, of keys made by a release whose entries did not name the secret
KEY_RIGHTS, ROTATED = "key.rights", "key.rotated"
SESSION_ENDED: Final = "session.ended"
PERSON_CREATED, PERSON_RIGHTS, CREDENTIALS = "person.created", "person.rights", "person.credentials"
DISABLED, ENABLED, RECOVERY_USED = "person.disabled", "person.enabled", "person.recovery_used"
ADDRESS: Final = "person.address"  # a keyed digest of the address by which a provider's account is found
KINDS: Final = (
    CREATED, REVOKED, OWNED, RECORDED, KEY_RIGHTS, ROTATED, SESSION_ENDED, PERSON_CREATED, PERSON_RIGHTS, CREDENTIALS,
    DISABLED, ENABLED, RECOVERY_USED, ADDRESS,
)  # fmt: skip
TEMPORARY: Final = "temporary password"  # in what an entry of credentials says was set; a person's own is "password"
ACTOR_PREFIX: Final = "person:"  # of the actor and subject of entries of people; no key may have such a name


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key as the ledger tells it. `secret` is None where its entries come from a release that did not name it."""

    prefix: str
    name: str
    role: str
    owner: str | None
    created_by: str
    secret: str | None
    revoked_at: datetime | None = None
    models: tuple[str, ...] | None = None  # None: all
    expires_at: datetime | None = None
    earlier: str | None = None  # the secret before the last rotation, and until when it still opens
    earlier_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PersonState:
    """A person as the ledger tells it. Its fields of the same name mean what those of a key mean."""

    id: str
    role: str
    models: tuple[str, ...] | None
    created_by: str
    spelt: str | None = None  # the owner of keys from whom the person was made
    credentials: str | None = None  # digest of what the person signs in with
    credentials_at: datetime | None = None  # since when
    temporary: bool = False  # the password was given by an admin
    recovery_used: frozenset[str] = frozenset()
    address: str | None = None  # keyed digest of the address by which a provider's account may be linked
    revoked_at: datetime | None = None  # disabled since
    prefix: None = None

    @property
    def name(self) -> str:
        return ACTOR_PREFIX + self.id

    @property
    def owner(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Rights:
    """Every key, person and ended session, as of the first `size` entries."""

    size: int = 0
    root: str = ""
    last_leaf: str = ""
    keys: Mapping[str, KeyState] = field(default_factory=dict)
    people: Mapping[str, PersonState] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    recorded: bool = False  # every secret is named by an entry from here on
    spellings: Mapping[str, str] = field(default_factory=dict)  # the id of a person, by every spelling of it
    names: Mapping[str, str] = field(default_factory=dict)  # the prefix of a key, by its name

    def named(self, actor: str) -> KeyState | PersonState | None:
        """The key or person that acts under a name."""
        if actor.startswith(ACTOR_PREFIX):
            return self.people.get(actor.removeprefix(ACTOR_PREFIX))
        return self.keys.get(self.names.get(actor, ""))

    def person_of(self, owner: str | None) -> PersonState | None:
        """The person whom an owner's spelling names, if people are declared by it."""
        return self.people.get(self.spellings.get(person(owner), "")) if owner else None


def secret_digest(stored: str) -> str:
    """Digest of a stored hash, for the ledger, which other people read."""
    return sha256(stored.encode()).hexdigest()


def scope_of(models: Any) -> tuple[str, ...] | None:
    return None if models is None else tuple(str(name) for name in models)


class Fold:
    """Reads entries in their order, on top of what is known."""

    def __init__(self, known: Rights) -> None:
        self.keys, self.people, self.ended = dict(known.keys), dict(known.people), set(known.ended)
        self.spellings, self.names, self.recorded = dict(known.spellings), dict(known.names), known.recorded

    def damaged(self, subject: str) -> None:
        """An entry that cannot be read gives nobody a right."""
        self.keys.pop(subject.removeprefix("key:"), None)
        self.people.pop(subject.removeprefix(ACTOR_PREFIX), None)

    def take(self, entry: Mapping[str, Any]) -> None:
        kind, body, subject = entry["kind"], entry["body"], str(entry["subject"])
        if kind == SESSION_ENDED:
            self.ended.add(str(body["session"]))
        elif kind == RECORDED:
            self.recorded = True
            for one, secret in body["secrets"].items():
                if one in self.keys and self.keys[one].secret is None:
                    self.keys[one] = replace(self.keys[one], secret=secret)
        elif kind.startswith("person."):
            self._person(kind, subject.removeprefix(ACTOR_PREFIX), body, entry)
        else:
            self._key(kind, subject.removeprefix("key:"), body, entry)

    def _key(self, kind: str, prefix: str, body: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        found = self.keys.get(prefix)
        if kind == CREATED:
            self.keys[prefix] = KeyState(
                prefix, body["name"], body["role"], body.get("owner"), entry["actor"], body.get("secret"),
                models=scope_of(body.get("models")), expires_at=_time(body.get("expires_at")),
            )  # fmt: skip
            self.names[body["name"]] = prefix
        elif found is None:
            return
        elif kind == OWNED:
            self.keys[prefix] = replace(found, owner=body["owner"])
        elif kind == KEY_RIGHTS:
            self.keys[prefix] = replace(found, role=body["role"], models=scope_of(body["models"]))
        elif kind == ROTATED:
            self.keys[prefix] = replace(
                found, secret=body["secret"], expires_at=_time(body["expires_at"]),
                earlier=found.secret if body["earlier_until"] else None, earlier_until=_time(body["earlier_until"]),
            )  # fmt: skip
        elif kind == REVOKED and found.revoked_at is None:
            self.keys[prefix] = replace(found, revoked_at=_time(entry["at"]))

    def _person(self, kind: str, who: str, body: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        found = self.people.get(who)
        if kind == PERSON_CREATED:
            made = PersonState(who, body["role"], scope_of(body["models"]), entry["actor"], body.get("owner"))
            self.people[who] = made
            for spelling in (who, made.spelt):
                if spelling:
                    self.spellings.setdefault(person(spelling), who)
        elif found is None:
            return
        elif kind == PERSON_RIGHTS:
            self.people[who] = replace(found, role=body["role"], models=scope_of(body["models"]))
        elif kind == CREDENTIALS:
            given, kept = TEMPORARY in body["what"], found.temporary and "password" not in body["what"]
            self.people[who] = replace(
                found, credentials=body["digest"], credentials_at=_time(entry["at"]), temporary=given or kept,
                recovery_used=frozenset(),
            )  # fmt: skip
        elif kind == ADDRESS:
            self.people[who] = replace(found, address=body["digest"])
        elif kind == RECOVERY_USED:
            self.people[who] = replace(found, recovery_used=found.recovery_used | {str(body["code"])})
        elif kind == DISABLED and found.revoked_at is None:
            self.people[who] = replace(found, revoked_at=_time(entry["at"]))
        elif kind == ENABLED:
            self.people[who] = replace(found, revoked_at=None)


def _time(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)
