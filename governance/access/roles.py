"""Roles, their permissions, and what a caller may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.errors import ForbiddenError


class Role(StrEnum):
    PRODUCER = "producer"  # an application that sends the inputs and outputs of its model
    VIEWER = "viewer"
    OPERATOR = "operator"  # the ML team: declares models, works on alerts, starts runs
    VALIDATOR = "validator"  # independent validation: reads everything, requests reports
    APPROVER = "approver"  # approves or rejects runs, requests erasures; separate from the ML team
    COMPLIANCE = "compliance"  # reads everything, protected columns and who has which rights too; changes nothing
    ADMIN = "admin"


class Permission(StrEnum):
    EVENTS_WRITE = "events.write"
    READ = "read"  # models, windows, measurements, alerts, runs, reports; no rows about people
    EVENTS_READ = "events.read"  # single decisions and their explanations
    CHAMPION_READ = "champion.read"  # what serving should load
    LEDGER_READ = "ledger.read"
    MODEL_WRITE = "model.write"
    ALERT_WRITE = "alert.write"
    QUARANTINE_WRITE = "quarantine.write"  # release, fix and discard rejected rows
    DATASET_WRITE = "dataset.write"
    RUN_START = "run.start"
    RUN_APPROVE = "run.approve"
    VERSION_MOVE = "version.move"  # promote and roll back
    STOP = "model.stop"  # freeze promotion and retraining; whoever sees harm may
    INCIDENT_REPORT = "incident.report"  # declare serious incidents, and record what authorities were told
    VALIDATE = "validate"
    REPORT_CREATE = "report.create"
    ERASE = "erase"  # remove a person's rows for good
    HOLD = "hold.manage"  # keep rows against retention and erasure, and release them
    PROTECTED_READ = "protected.read"  # values of protected columns
    ACCESS_READ = "access.read"  # people, keys and sessions: who may what
    KEY_MANAGE = "key.manage"  # change them


_READING: Final = frozenset({Permission.READ, Permission.CHAMPION_READ, Permission.LEDGER_READ})
_AUDITING: Final = _READING | {Permission.EVENTS_READ, Permission.REPORT_CREATE}
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.PRODUCER: frozenset({Permission.EVENTS_WRITE, Permission.CHAMPION_READ}),
    Role.VIEWER: _READING,
    Role.OPERATOR: _AUDITING
    | {
        Permission.EVENTS_WRITE, Permission.MODEL_WRITE, Permission.ALERT_WRITE, Permission.DATASET_WRITE,
        Permission.RUN_START, Permission.VERSION_MOVE, Permission.QUARANTINE_WRITE, Permission.STOP,
        Permission.INCIDENT_REPORT,
    },
    Role.VALIDATOR: _AUDITING | {Permission.VALIDATE, Permission.STOP},
    Role.APPROVER: _AUDITING
    | {
        Permission.RUN_APPROVE, Permission.VERSION_MOVE, Permission.ERASE, Permission.HOLD, Permission.STOP,
        Permission.INCIDENT_REPORT,
    },
    Role.COMPLIANCE: _READING | {Permission.EVENTS_READ, Permission.PROTECTED_READ, Permission.ACCESS_READ},
    Role.ADMIN: frozenset(Permission),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a person, or the holder of a key.

    `name` is the actor in the ledger, `prefix` that of the key (empty for a person who signed in), `owner` the person
    who holds the key, as declared. `models` are those the caller may see and change; None means all. `person` is the
    id of the person behind the request, None for a key that nobody holds.
    """

    name: str
    role: Role
    prefix: str
    owner: str | None = None
    models: frozenset[str] | None = None
    person: str | None = None

    @property
    def subject(self) -> str:
        """What ledger entries about this caller are about."""
        return f"key:{self.prefix}" if self.prefix else self.name

    def may(self, permission: Permission) -> bool:
        return permission in PERMISSIONS[self.role]

    def sees(self, model: str | None) -> bool:
        """Whether a model is within the caller's scope; None is the installation itself, of callers of all models."""
        return self.models is None or (model is not None and model in self.models)


def require(caller: Caller, permission: Permission) -> None:
    """
    Raises:
        ForbiddenError: the caller's role does not have the permission.
    """
    if not caller.may(permission):
        able = ", ".join(role.value for role, granted in PERMISSIONS.items() if permission in granted)
        raise ForbiddenError(
            f"role {caller.role.value} lacks the permission {permission.value}; it is granted to: {able}",
            role=caller.role.value, permission=permission.value,
        )  # fmt: skip
