"""Settings: read once, complete in the documents, and nothing misspelt passes."""

import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from core import settings
from core.errors import InvalidError

ROOT = Path(__file__).parents[2]
NAMES = {name for name, _ in settings.variables()}


def defaults(model: type[BaseModel] = settings.Settings, prefix: str = settings.PREFIX) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        kind, variable = field.annotation, f"{prefix}{name.upper()}"
        if get_origin(kind) is Mapping:  # by a name of the user's, without a default of its own
            kind, variable = get_args(kind)[1], f"{variable}{settings.DELIMITER}{settings.NAME}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= defaults(kind, f"{variable}{settings.DELIMITER}")
        else:
            empty = field.default in (None, (), PydanticUndefined)
            found[variable] = "" if empty else str(field.default)
    return found


def test_defaults_need_no_environment_at_all() -> None:
    loaded = settings.load({})
    assert loaded.server.port == 8100
    assert loaded.database_url.startswith("sqlite:///")
    assert loaded.database_url.endswith("/assay.db")


def test_a_variable_sets_its_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.setenv("ASSAY_SERVER__PORT", "9001")
    monkeypatch.setenv("ASSAY_DB__URL", "postgresql+psycopg://assay:secret@db/assay")
    loaded = settings.load()
    assert loaded.home_dir == tmp_path
    assert loaded.server.port == 9001
    assert loaded.database_url == "postgresql+psycopg://assay:secret@db/assay"


def test_the_environment_given_is_the_environment_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_SERVER__PORT", "9001")
    assert settings.load({}).server.port == 8100
    assert settings.load({"ASSAY_SERVER__PORT": "9002"}).server.port == 9002


def test_an_argument_wins_over_a_variable(tmp_path: Path) -> None:
    assert settings.load({"ASSAY_HOME": "/elsewhere"}, home=tmp_path).home == tmp_path


@pytest.mark.parametrize(
    "name", ["ASSAY_PROT", "ASSAY_SERVER__PROT", "ASSAY_SERVER_PORT", "ASSAY_SERVR__PORT", "assay_prot", "ASSAY_"]
)
def test_an_unknown_variable_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidError, match=f"unknown setting {name}:"):
        settings.load({name: "1"})


def test_a_misspelt_nested_variable_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidError, match="ASSAY_SERVER__PORT"):
        settings.load({"ASSAY_SERVER__PROT": "9001"})


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("ASSAY_SERVR__PORT", "ASSAY_SERVER__PORT"),
        ("ASSAY_SERVER__PROT", "ASSAY_SERVER__PORT"),
        ("ASSAY_SERVER_PORT", "ASSAY_SERVER__PORT"),
        ("ASSAY_SERVER__HSOT", "ASSAY_SERVER__HOST"),
        ("assay_qeue__pol_s", "ASSAY_QUEUE__POLL_S"),
        ("ASSAY_HOEM", "ASSAY_HOME"),
        ("ASSAY_DB_URL", "ASSAY_DB__URL"),
        ("ASSAY_ROUTES__OPS__SEVERTY", "ASSAY_ROUTES__OPS__SEVERITY"),
        ("ASSAY_ROUTE__OPS__SEVERITY", "ASSAY_ROUTES__OPS__SEVERITY"),
        ("ASSAY_CHANNEL__OPS", "ASSAY_CHANNELS__OPS"),
        ("ASSAY_SERVER__COLOUR", "ASSAY_SERVER__PORT"),  # like none: the names of the group are told
    ],
)
def test_a_misspelt_variable_is_answered_with_the_nearest_name(misspelt: str, meant: str) -> None:
    with pytest.raises(InvalidError, match=rf"unknown setting {misspelt}: .*\b{meant}\b"):
        settings.load({misspelt: "1"})


def test_a_group_given_as_json_is_refused_where_a_key_is_unknown() -> None:
    with pytest.raises(InvalidError, match="ASSAY_SERVER"):
        settings.load({"ASSAY_SERVER": '{"prot": 1}'})


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("ASSAY_SERVER__PORT", "http", "server.port"),
        ("ASSAY_SERVER__PORT", "70000", "server.port"),
        ("ASSAY_QUEUE__LEASE_S", "0", "queue.lease_s"),
        ("ASSAY_TRAIN__DEVICE", "tpu", "train.device"),
        ("ASSAY_LOG__LEVEL", "chatty", "log.level"),
        ("ASSAY_QUEUE__POLL_S", "inf", "queue.poll_s"),
        ("ASSAY_SERVER__HEAD_S", "1e400", "server.head_s"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_field_and_value(name: str, value: str, field: str) -> None:
    with pytest.raises(InvalidError, match=rf"setting {re.escape(field)}: .*'{value}'"):
        settings.load({name: value})


def test_secrets_do_not_appear_when_settings_are_shown() -> None:
    loaded = settings.load({"ASSAY_DB__URL": "postgresql://u:hunter2@h/d", "ASSAY_CLIENT__KEY": "hunter3"})
    assert "hunter" not in repr(loaded) + str(loaded) + loaded.model_dump_json()


def test_a_secret_of_the_wrong_kind_is_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidError) as caught:
        settings.load({"ASSAY_DB__POOL_SIZE": "x", "ASSAY_DB__URL": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"ASSAY_CHANNELS__OPS": "hunter2"},  # no URL
        {"ASSAY_CHANNELS__OPS__MORE": "slack://hunter2"},
        {"ASSAY_CHANNELS": '{"ops": "slack://hunter2"}'},
        {"ASSAY_CHANNELS__O P": "slack://hunter2"},
        {"ASSAY_CHANNELS__OPS": '{"a": "hunter2"}'},
        {"ASSAY_CHANNELS__OPS": "slack://hunter2", "ASSAY_ROUTES__OTHER__SEVERITY": "info"},
        {"ASSAY_CHANNELS__OPS": "slack://hunter2", "ASSAY_ROUTES__OPS__HOURS": "8 to 18"},
        {"ASSAY_HEARTBEAT__URL": "https://hunter2", "ASSAY_HEARTBEAT__EVERY_S": "0"},
    ],
)
def test_a_channel_that_cannot_be_set_is_refused_without_its_url(variables: dict[str, str]) -> None:
    with pytest.raises(InvalidError) as caught:
        settings.load(variables)
    assert "hunter2" not in f"{caught.value}{caught.value.facts}{caught.value.__cause__}"


def test_channels_and_routes_are_read_by_their_names() -> None:
    loaded = settings.load(
        {
            "ASSAY_CHANNELS__ON_CALL": "pagerduty://hunter2@key", "ASSAY_ROUTES__ON_CALL__SEVERITY": "critical",
            "ASSAY_ROUTES__ON_CALL__MODELS": "support-*, loans", "ASSAY_ROUTES__ON_CALL__HOURS": "08:00-18:30",
        }
    )  # fmt: skip
    assert "hunter2" not in repr(loaded) + loaded.model_dump_json()
    assert loaded.channels["on_call"].get_secret_value() == "pagerduty://hunter2@key"
    assert loaded.routes["on_call"].models == ("support-*", "loans")
    assert settings.hours_of(loaded.routes["on_call"].hours or "") == (time(8), time(18, 30))


@pytest.mark.parametrize(
    ("route", "value"),
    [
        ("HOURS", "25:00-26:00"), ("HOURS", "08:00-08:00"), ("DAYS", "mon-fry"), ("DAYS", "mon,fri"),
        ("ZONE", "Mars/Olympus"), ("SEVERITY", "loud"), ("DIGEST", "hourly"),
    ],
)  # fmt: skip
def test_a_route_that_means_nothing_is_refused_by_name(route: str, value: str) -> None:
    with pytest.raises(InvalidError, match=rf"routes\.ops\.{route.lower()}"):
        settings.load({"ASSAY_CHANNELS__OPS": "slack://a/b/c", f"ASSAY_ROUTES__OPS__{route}": value})


def test_settings_cannot_be_changed_after_the_start() -> None:
    loaded = settings.load({})
    with pytest.raises(ValidationError, match="frozen"):
        loaded.home = Path("/elsewhere")  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValidationError, match="frozen"):
        loaded.server.port = 1  # type: ignore[misc]  # the point of the test


def test_every_setting_says_what_it_means() -> None:
    assert all(description for _, description in settings.variables())


def test_the_document_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(ASSAY_\w+)` \| (?:`([^`]*)`|\(empty\)) \|", (ROOT / "docs/settings.md").read_text(), re.M)
    assert dict(rows) == defaults()


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^#?(ASSAY_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    assert dict(rows) == defaults()


def test_lists_and_pairs_are_read_from_one_variable() -> None:
    loaded = settings.load({
        "ASSAY_TRAIN__BASE_ROOTS": "/models, ~/models", "ASSAY_OIDC__ROLES": "ml=operator, audit=compliance",
        "ASSAY_OIDC__ALGORITHMS": "RS256", "ASSAY_OIDC__MODELS": "credit=loans|cards",
    })  # fmt: skip
    assert [str(root) for root in loaded.train.base_roots] == ["/models", "~/models"]
    assert loaded.oidc.roles == (("ml", "operator"), ("audit", "compliance"))
    assert (loaded.oidc.algorithms, loaded.oidc.models) == (("RS256",), (("credit", "loans|cards"),))
    for wrong in ("none", "HS256", "RS256, none"):
        with pytest.raises(InvalidError, match=r"oidc\.algorithms"):
            settings.load({"ASSAY_OIDC__ALGORITHMS": wrong})
