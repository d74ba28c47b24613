"""The packs that there are: loaded and checked once, and found by their ids."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.canonical import canonical, sha256
from core.errors import InvalidError
from reports.regimes.evidence import EVIDENCE

FOLDER: Final = Path(__file__).parent / "packs"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PackChange(_Part):
    """A change of the regime, or of the pack."""

    date: date
    note: str = Field(min_length=1)


class Requirement(_Part):
    """One thing that a regime asks for.

    `evidence`: ids of `EVIDENCE`; `people`: what only people can supply, empty where nothing is left to them.
    `applicable_from`: null where the regime names no day.
    """

    id: str = Field(pattern=r"[a-z0-9-]+")
    ref: str = Field(min_length=1)
    title: str = Field(min_length=1)
    asks: str = Field(min_length=1)
    applicable_from: date | None
    evidence: tuple[str, ...]
    people: str

    @model_validator(mode="after")
    def _known(self) -> "Requirement":
        if unknown := [one for one in self.evidence if one not in EVIDENCE]:
            raise ValueError(f"{self.id}: no such evidence: {', '.join(unknown)}")
        if not self.evidence and not self.people:
            raise ValueError(f"{self.id}: neither evidence nor what people must supply")
        return self


class RegimePack(_Part):
    id: str = Field(pattern=r"[a-z0-9-]+")
    title: str
    version: str
    applicable_from: date | None
    scope: str
    basis: str
    changes: tuple[PackChange, ...] = Field(min_length=1)
    requirements: tuple[Requirement, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Over the canonical JSON of everything the pack says."""
        return sha256(canonical(self.model_dump(mode="json")))

    @model_validator(mode="after")
    def _once(self) -> "RegimePack":
        ids = [one.id for one in self.requirements]
        if len(set(ids)) != len(ids):
            raise ValueError(f"{self.id}: a requirement is there twice")
        return self


class UnknownRegimeError(InvalidError):
    code = "unknown_regime"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"regimes: {name[:60]!r} is no regime pack; give one or more of {', '.join(known)}",
            field="regimes", value=name[:100], known=list(known),
        )  # fmt: skip


@cache
def packs() -> Mapping[str, RegimePack]:
    """Every pack by its id, in order of the ids."""
    found = [_loaded(yaml.safe_load(path.read_text("utf-8"))) for path in sorted(FOLDER.glob("*.yaml"))]
    return {pack.id: pack for pack in found}


def _loaded(document: Any) -> RegimePack:
    return RegimePack.model_validate(document)


def pack_of(name: str) -> RegimePack:
    """
    Raises:
        UnknownRegimeError: there is no such pack; with those that there are.
    """
    found = packs().get(name.strip().lower())
    if found is None:
        raise UnknownRegimeError(name, list(packs()))
    return found


def chosen(names: Sequence[str]) -> list[str]:
    """The ids of packs, each once, in the order asked for.

    Raises:
        UnknownRegimeError: there is no such pack.
    """
    return list(dict.fromkeys(pack_of(name).id for name in names))
