"""What is stored of reason codes: inputs, rule and result as plain JSON, to be computed again by anybody."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from core.canonical import digest
from core.errors import InvalidError
from monitor.reasons.codes import RULE, Population, ReasonInputs, ReasonTable, reason_codes


def reasons_record(given: ReasonInputs) -> dict[str, Any]:
    """The inputs and the codes as plain JSON, with the rule and a digest of each: what is stored and handed out."""
    inputs = _plain(asdict(given))
    found = _plain(asdict(reason_codes(given)))
    return {
        "rule": RULE, "inputs": inputs, "table_digest": given.table.digest, "inputs_digest": digest(inputs),
        "result": found, "codes_digest": digest([code["code"] for code in found["codes"]]),
    }  # fmt: skip


def inputs_of(record: Mapping[str, Any]) -> ReasonInputs:
    """The inputs of a stored record.

    Raises:
        InvalidError: the record lacks a part, or a part has another form.
    """
    try:
        given = dict(record["inputs"])
        table = given.pop("table")
        population = given.pop("population")
        return ReasonInputs(**given, population=Population(**population), table=ReasonTable(**table))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"this is no record of reasons: {error}", field="inputs") from error


def check_record(record: Mapping[str, Any]) -> list[str]:
    """Compute the codes of a stored record again, offline; return what differs, nothing where all is the same.

    Raises:
        InvalidError: it is no record of reasons.
    """
    given = inputs_of(record)
    try:
        again = reasons_record(given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidError(f"this is no record of reasons: {error}", field="inputs") from error
    found = []
    if record.get("rule") != again["rule"]:
        found.append(f"rule: the record says {record.get('rule')!r}, this release follows {again['rule']!r}")
    for part in ("table_digest", "inputs_digest"):
        if record.get(part) != again[part]:
            found.append(f"{part}: the record says {record.get(part)}, its content has {again[part]}")
    found += _differences(record.get("result"), again["result"])
    if record.get("codes_digest") != again["codes_digest"]:
        found.append(
            f"codes_digest: the record says {record.get('codes_digest')}, the codes have {again['codes_digest']}"
        )
    return found


def _plain(value: Any) -> Any:
    """As JSON can hold it and gives it back: lists for tuples, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _differences(stored: Any, again: Mapping[str, Any]) -> list[str]:
    if not isinstance(stored, Mapping):
        return ["result: the record has none"]
    return [
        f"{name}: the record says {stored.get(name)!r}, computed again it is {again[name]!r}"
        for name in again
        if stored.get(name) != again[name]
    ]


def table_changes(before: ReasonTable, after: ReasonTable) -> list[str]:
    """What a new version of a table says otherwise, a sentence each; none where all is the same."""
    found = []
    for name in dict.fromkeys((*before.texts, *after.texts)):
        old, new = before.texts.get(name), after.texts.get(name)
        if old is None:
            found.append(f"{name} is new: {new!r}")
        elif new is None:
            found.append(f"{name} is no more; it was {old!r}")
        elif old != new:
            found.append(f"{name} was {old!r}, and is {new!r}")
    for name in dict.fromkeys((*before.groups, *after.groups)):
        members = [sorted(table.groups[name]) if name in table.groups else None for table in (before, after)]
        if members[0] != members[1]:
            told = [", ".join(one) if one is not None else "no group" for one in members]
            found.append(f"{name} was {told[0]}, and is {told[1]}")
    return found
