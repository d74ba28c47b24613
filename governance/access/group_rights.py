"""Which role and which models the groups of a provider give a person. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from core.canonical import canonical
from core.errors import InvalidError
from governance.access.roles import Role
from governance.access.scopes import read_models

ALL: Final = "*"


@dataclass(frozen=True)
class GroupRights:
    """What is set: empty `roles` mean that people have the rights that an admin gave them in Assay."""

    roles: Mapping[str, Role]
    models: Mapping[str, tuple[str, ...] | None]

    @classmethod
    def read(cls, roles: Mapping[str, str], models: Mapping[str, str]) -> Self:
        """
        Raises:
            InvalidError: a role or a model is none.
        """
        known = {role.value for role in Role}
        for group, role in roles.items():
            if role not in known:
                raise InvalidError(
                    f"setting oidc.roles: group {group!r} gives {role!r}, which is no role; the roles are "
                    f"{', '.join(sorted(known))}",
                    field="oidc.roles", value=role,
                )  # fmt: skip
        scopes: dict[str, tuple[str, ...] | None] = {}
        for group, names in models.items():
            given = [name.strip() for name in names.split("|")]
            scopes[group] = None if given == [ALL] else tuple(read_models(given) or ())
        return cls({group: Role(role) for group, role in roles.items()}, scopes)

    @property
    def digest(self) -> str:
        """Changes with the mapping; sessions that were opened under another one end."""
        models = {group: None if names is None else list(names) for group, names in self.models.items()}
        return sha256(canonical([list(self.roles.items()), models])).hexdigest()

    def of(self, groups: Collection[str]) -> tuple[Role, list[str] | None] | None:
        """Role and models of a member of some groups; None if no group gives a role."""
        role = next((role for group, role in self.roles.items() if group in groups), None)
        if role is None:
            return None
        if not self.models:
            return role, None
        found: set[str] = set()
        for group, names in self.models.items():
            if group in groups and names is None:
                return role, None
            found |= set(names or ()) if group in groups else set()
        return role, sorted(found)
