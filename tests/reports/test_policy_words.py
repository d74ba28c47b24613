"""What starts a run, as the page of a model says it."""

from datetime import UTC, datetime
from typing import Any

from monitor.spec.retraining import Retrain
from reports.wording.plan import policy_words

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def policy(**more: Any) -> Retrain:
    return Retrain.model_validate({"recipe": {"base_model": "./base"}, **more})


def test_every_trigger_has_words_and_a_schedule_its_next_tick() -> None:
    given = policy(
        when=[
            "drift", "kpi", "fairness", "whole", {"kpi": "estimated"}, {"new_outcomes": 5000}, {"new_classes": {}},
            {"cron": "0 3 * * 0", "timezone": "Europe/Berlin"}, {"cron": "0 25 * * *"},
        ],
        allowed_hours={"hours": "22:00-06:00", "days": "mon-fri"}, cooldown="12h",
    )  # fmt: skip
    words = policy_words(given, NOW)
    assert words.startswith(
        "A run starts on drift; a KPI past its limit, realised or estimated; a fairness metric past"
    )
    assert (
        "; a KPI of the whole past its limit, where this part got worse; a KPI past its limit, estimated; 5,000"
        in words
    )
    assert "new classes within 7d; `0 3 * * 0` Europe/Berlin, next at 2026-11-29 02:00 UTC; `0 25 * * *` UTC" in words
    assert "which never comes: cron is '0 25 * * *': hour '25' is not possible" in words
    assert words.endswith(", only 22:00-06:00 mon-fri UTC; at the earliest 12h after the last one began.")
    assert policy_words(None, NOW) == ""
