"""Cron expressions: read as crontab(5) says, or refused with the field, the value and what to write."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from core.errors import InvalidError
from monitor.spec.cron import read_cron
from monitor.spec.parse import SpecError, load_spec, parse_spec
from retrain.triggers.schedule import next_tick
from tests.monitor.traffic import document

FRIDAY = datetime(2026, 11, 27, 12, tzinfo=UTC)
WRONG = {
    "0 25 * * *": "hour '25' is not possible; write numbers from 0 to 23",
    "60 * * * *": "minute '60' is not possible; write numbers from 0 to 59",
    "*/0 * * * *": "the step 0; write a step from 1 to 59",
    "abcde": "which has 1 field; write five fields",
    "a b c d e": "minute 'a' cannot be read",
    "": "which has 0 fields",
    "0 0 0 * * *": "which has 6 fields",
    "@daily": "write its five fields: `0 0 * * *`",
    "@reboot": "which has 1 field",
    "0 0 31 2 *": "which never comes: no such month has day 31; write a day up to 29",
    "0 0 31 4,6 *": "which never comes",
    "0 0 30 2 */2": "which never comes",
    "0 0 0 * *": "day of the month '0' is not possible",
    "0 5-3 * * *": "runs backwards; write two ranges, such as `5-23,0-3`",
    "0 0 * * fri-mon": "runs backwards",
    "*/90 * * * *": "the step 90; write a step from 1 to 59",
    "0 0 * 13 *": "month '13' is not possible; write numbers from 1 to 12 or names such as jan",
    "0 0 * foo *": "month 'foo' is not possible",
    "0 0 L * *": "day of the month 'L' cannot be read",
    "0 0 * * 5#2": "day of the week '5#2' cannot be read",
    "0 0 last * *": "day of the month 'last' cannot be read",
    "1,,2 * * * *": "minute '' cannot be read",
    "1.5 * * * *": "minute '1.5' cannot be read",
    "\u0660 3 * * 0": "cannot be read",
    "\x00 * * * *": "cannot be read",
    "1" * 6000 + " * * * *": "in at most 200 characters",
}


def text(cron: Any) -> str:
    retrain = {"when": [{"cron": cron}], "recipe": {"base_model": "m", "method": "qlora"}}
    return yaml.safe_dump(document(retrain=retrain), allow_unicode=True)


@pytest.mark.parametrize("cron", WRONG)
def test_a_wrong_expression_is_refused_in_words_that_say_what_to_write(cron: str) -> None:
    with pytest.raises(ValueError, match=r"^cron is ") as refused:
        read_cron(cron)
    assert WRONG[cron] in str(refused.value)


def test_a_spec_with_a_wrong_expression_is_refused_with_its_key() -> None:
    with pytest.raises(SpecError) as refused:
        load_spec(text("0 25 * * *"))
    problem = refused.value.facts["problems"][0]
    assert problem["field"] == "retrain.when[0].cron"
    assert "hour '25' is not possible" in problem["reason"]


def test_a_spec_that_an_earlier_release_stored_loads_and_its_schedule_says_why_it_does_not_come() -> None:
    spec = parse_spec(yaml.safe_load(text("0 25 * * *")))
    assert spec.retrain is not None
    with pytest.raises(InvalidError, match="hour '25' is not possible"):
        next_tick("0 25 * * *", FRIDAY)


@pytest.mark.parametrize(
    ("cron", "following"),
    [
        ("0 3 * * 0", ["Sun 29 03:00", "Sun 06 03:00"]),
        ("0 3 * * 7", ["Sun 29 03:00", "Sun 06 03:00"]),
        ("0 0 * * */2", ["Sat 28 00:00", "Sun 29 00:00", "Tue 01 00:00"]),
        ("0 0 * * sun-tue", ["Sun 29 00:00", "Mon 30 00:00", "Tue 01 00:00"]),
        ("0 0 * * sat-sun", ["Sat 28 00:00", "Sun 29 00:00", "Sat 05 00:00"]),
        ("0 0 1,15 * *", ["Tue 01 00:00", "Tue 15 00:00"]),
        ("0 0 31 2 mon", ["Mon 01 00:00"]),  # either of two restricted day fields is enough
        ("50/5 * * * *", ["Fri 27 12:50", "Fri 27 12:55", "Fri 27 13:50"]),
        ("0 0 * JAN-mar Mon-fri", ["Fri 01 00:00"]),
    ],
)
def test_a_right_expression_falls_due_as_crontab_says(cron: str, following: list[str]) -> None:
    load_spec(text(cron))
    at: datetime | None = FRIDAY
    for wanted in following:
        assert at is not None
        at = next_tick(cron, at)
        assert at is not None
        assert f"{at:%a %d %H:%M}" == wanted


def test_nothing_falls_due_after_the_end_of_the_calendar() -> None:
    assert next_tick("0 0 * * *", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)) is None
