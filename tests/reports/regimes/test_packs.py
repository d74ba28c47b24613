"""Regime packs are data that holds together: every evidence is a field of the document."""

import re
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydantic
import pytest

from reports.document import AuditReport
from reports.regimes.evidence import EVIDENCE
from reports.regimes.lines import regime_lines
from reports.regimes.packs import UnknownRegimeError, chosen, packs

ROOT = Path(__file__).resolve().parents[3]
IDS = {"ecoa-reg-b", "eu-ai-act", "iso-42001", "nist-ai-rmf", "nyc-ll144", "sr-26-2"}


def models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """The documents that a field holds, however they are wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [found for one in typing.get_args(annotation) for found in models_in(one)]


def exists(kind: type[pydantic.BaseModel], path: list[str]) -> bool:
    field = kind.model_fields.get(path[0])
    if field is None:
        return False
    return len(path) == 1 or any(exists(one, path[1:]) for one in models_in(field.annotation))


def test_every_evidence_of_every_pack_is_a_field_of_the_document() -> None:
    assert set(packs()) == IDS
    named = {name for pack in packs().values() for one in pack.requirements for name in one.evidence}
    assert [name for name in sorted(named | set(EVIDENCE)) if not exists(AuditReport, name.split("."))] == []
    assert set(EVIDENCE) - named == set(), "evidence that no pack asks for"


def test_the_ledger_entry_of_an_evidence_is_a_field_beside_it() -> None:
    beside = {name: item.entry for name, item in EVIDENCE.items() if item.entry is not None}
    wrong = [n for n, entry in beside.items() if not exists(AuditReport, [*n.split(".")[:-1], entry])]
    assert wrong == []


def test_a_pack_never_says_that_something_complies() -> None:
    for path in (ROOT / "reports" / "regimes").rglob("*.yaml"):
        assert not re.search(r"\bcompli(es|ant|ance)\b", path.read_text("utf-8"), re.IGNORECASE), path


def test_a_digest_changes_with_the_words_of_a_pack() -> None:
    pack = packs()["eu-ai-act"]
    other = pack.model_copy(update={"scope": pack.scope + " "})
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", pack.digest)
    assert other.digest != pack.digest


def test_an_unknown_pack_is_refused_with_the_list() -> None:
    with pytest.raises(UnknownRegimeError, match=r"eu-ai-act.*sr-26-2") as refused:
        chosen(["eu-ai-act", "gdpr"])
    assert set(refused.value.facts["known"]) == IDS
    assert chosen([" EU-AI-Act", "eu-ai-act"]) == ["eu-ai-act"]


def states(document: dict[str, Any], end: str) -> dict[str, str]:
    [pack] = regime_lines(document, ["eu-ai-act"], datetime(2026, 7, 1, tzinfo=UTC), datetime.fromisoformat(end))
    return {line.id: line.state for line in pack.requirements}


def test_the_state_of_a_requirement_follows_from_its_day_and_from_what_the_report_holds() -> None:
    document = {"serious": [{"deadline": "2026-08-20", "reported_at": None, "entry": 7}], "plan": []}
    before, after = states(document, "2026-08-02T00:00:00Z"), states(document, "2026-08-03T00:00:00Z")
    assert (before["art-73"], after["art-73"]) == ("not yet applicable", "evidence present")
    assert (after["art-72"], after["art-50"], after["art-9"]) == (
        "not in this period", "people must supply", "not yet applicable",
    )  # fmt: skip
    [pack] = regime_lines(document, ["eu-ai-act"], *[datetime(2026, 8, d, tzinfo=UTC) for d in (1, 30)])
    line = next(one for one in pack.requirements if one.id == "art-73")
    assert line.finding == (
        "Evidence for 1 of 2 items. None in this period: reports to authorities. Applies from 2026-08-02, within this "
        "period."
    )
    assert [(e.id, e.figures, e.entries) for e in line.evidence] == [
        ("serious.deadline", 1, (7,)), ("serious.reported_at", 0, ()),
    ]  # fmt: skip
