"""Fuzz the reader of specs, as text and as a document in which values are exchanged.

What it finds becomes a case of tests/monitor/spec/test_bounds.py.
"""

import copy
import json
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["monitor", "core.text"]):
    from core.errors import AppError
    from monitor.metric_names import check_metrics
    from monitor.spec.forecast import forecasts
    from monitor.spec.parse import load_spec, parse_spec

import yaml

from tests.monitor import traffic
from tests.monitor.spec.test_bounds import HUGE, ODD
from tests.monitor.spec.test_model import changed
from tests.server.conftest import SPEC

FORMS: Final[tuple[Any, ...]] = (None, "json", "yaml")
DOCUMENTS: Final[tuple[dict[str, Any], ...]] = (SPEC, traffic.document(), changed("model", "m"))
VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1, 10**11, 2**53, 10**400, 1e-300, 1e308, float("nan"), "", "a", "0d", "99999999999d", "1s",
    "first 99999999999", "1 per 1s", "1 per 99999999999d", "0 25 * * *", "* * * * *", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "2026-13-45", "a\\0b", "\ud800", "x" * 300, "(" * 100, "a" * 9000, [], {}, [[]],
    [None] * 50, {"": ""}, {"a": {}}, "all", "auto", {"rows": 10**11}, {"rows": 100}, ["1d"] * 20, ["1s", "99999d"],
    {"alpha": 1e-300}, "[a-z]{1000}{1000}", "sum(amount) / 0", "((((amount))))", "0.0000001 std", "1e308 std",
)  # fmt: skip


def places(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document that has a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, part in parts for found in [(*key, name), *places(part, (*key, name))]]


def exchanged(data: bytes) -> dict[str, Any]:
    """A document in which each two bytes put a value in a place."""
    document: Any = copy.deepcopy(DOCUMENTS[data[0] % len(DOCUMENTS)])
    for at in range(1, min(len(data) - 1, 13), 2):
        known = places(document)
        if not known:
            break
        *above, last = known[data[at] % len(known)]
        part = document
        for name in above:
            part = part[name]
        part[last] = copy.deepcopy(VALUES[data[at + 1] % len(VALUES)])
    changed: dict[str, Any] = document
    return changed


def one(data: bytes) -> None:
    """The first byte chooses whether the rest is a text in some form, or says what to exchange in a document."""
    if len(data) < 3:
        return
    try:
        if data[0] % 4 == 3:
            spec = load_spec(json.dumps(exchanged(data[1:])), "json")
        else:
            spec = load_spec(data[1:], FORMS[data[0] % 4])
        check_metrics(spec)
        forecasts(spec, rows_per_day=None)
        assert parse_spec(spec.document).digest == spec.digest
    except AppError as error:
        assert 0 < len(error.message) < 3000  # noqa: PT017 - what is refused is told in a few words


def seeds() -> dict[str, bytes]:
    texts = [text.encode() if isinstance(text, str) else text for text, _, _ in [*HUGE.values(), *ODD.values()]]
    texts = [text for text in texts if len(text) < 5000]
    texts += [yaml.safe_dump(document).encode() for document in DOCUMENTS]
    texts += [json.dumps(document).encode() for document in DOCUMENTS]
    found = {f"text-{i}-{form}": bytes([form]) + text for i, text in enumerate(texts) for form in range(len(FORMS))}
    return found | {f"exchanged-{i}": bytes([3, i % 3, i, i]) for i in range(50)}


if __name__ == "__main__":
    from tests.fuzz.bounded import fuzz

    fuzz(one, seeds())
