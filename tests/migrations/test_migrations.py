"""The steps build the schema that the code maps, on both databases, from several processes at once."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import MetaData, inspect, select, text
from sqlalchemy.exc import IntegrityError

import migrations
from core.db import Database
from migrations.tables import METADATA
from monitor.tables import Alert, Incident


def test_upgrade_from_empty_makes_every_mapped_table(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    database = Database(empty_database_url)
    assert set(inspect(database.engine).get_table_names()) == {*METADATA.tables, "alembic_version"}
    database.dispose()


def test_the_steps_leave_nothing_for_autogenerate_to_add(database_url: str) -> None:
    migrations.check(database_url)


def test_check_names_a_table_that_the_steps_lack(database_url: str) -> None:
    database = Database(database_url)
    with database.engine.begin() as connection:
        connection.execute(text("drop table api_key"))
    database.dispose()
    with pytest.raises(CommandError, match="api_key"):
        migrations.check(database_url)


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    migrations.upgrade(database_url)
    migrations.check(database_url)


@pytest.mark.parametrize(
    "empty_database_url", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True
)
def test_several_processes_may_upgrade_at_once(empty_database_url: str) -> None:
    # Alembic keeps its context in module globals, so processes, not threads.
    import subprocess
    import sys

    from tests.service import environment

    code = f"import migrations; migrations.upgrade({empty_database_url!r})"
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        _, stderr = process.communicate(timeout=240)
        assert process.returncode == 0, stderr
    migrations.check(empty_database_url)


def test_downgrade_returns_to_an_empty_database(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    command.downgrade(migrations.configuration(empty_database_url), "base")
    database = Database(empty_database_url)
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    database.dispose()


def test_the_steps_form_one_line_without_branches() -> None:
    script = ScriptDirectory.from_config(migrations.configuration("sqlite://"))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_a_path_with_a_percent_sign_can_be_migrated(tmp_path: Path) -> None:
    folder = tmp_path / "100% sure"
    migrations.upgrade(f"sqlite:///{folder / 'assay.db'}")
    migrations.check(f"sqlite:///{folder / 'assay.db'}")


def test_a_step_that_fails_leaves_the_database_as_it_was(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with database.engine.begin() as connection:
        connection.execute(text("create table model (name text)"))  # in the way of the first step
    with pytest.raises(Exception, match="model"):
        migrations.upgrade(empty_database_url)
    assert inspect(database.engine).get_table_names() == ["model"]
    database.dispose()


def test_explanations_that_wait_get_the_lane_of_their_own(empty_database_url: str) -> None:
    steps = ScriptDirectory.from_config(migrations.configuration(empty_database_url)).walk_revisions()
    step = next(step for step in steps if step.doc == "explanations get a lane of their own")
    command.upgrade(migrations.configuration(empty_database_url), str(step.down_revision))
    database = Database(empty_database_url)
    insert = """insert into job (id, name, lane, payload, state, attempts, lost, run_at, created_at, lock_key)
                values (:id, :name, 'train', '{}', :state, 0, 0, :at, :at, :key)"""
    jobs = [("retrain.explain", "queued"), ("retrain.explain", "running"), ("retrain.run", "queued")]
    with database.engine.begin() as connection:
        for number, (name, state) in enumerate(jobs):
            at = "2026-01-05 00:00:00+00" if database.engine.dialect.name == "postgresql" else "2026-01-05 00:00:00"
            values = {"id": f"{number:032x}", "name": name, "state": state, "at": at, "key": str(number)}
            connection.execute(text(insert), values)
    migrations.upgrade(empty_database_url)
    with database.engine.begin() as connection:
        found = connection.execute(text("select name, state, lane from job order by id")).all()
        assert [tuple(row) for row in found] == [
            ("retrain.explain", "queued", "explain"), ("retrain.explain", "running", "train"),
            ("retrain.run", "queued", "train"),
        ]  # fmt: skip
        uniques = [i for i in inspect(connection).get_indexes("job") if i["unique"]]
        rules = [c["name"] for c in inspect(connection).get_check_constraints("job")]
    assert len(uniques) == 2
    assert sorted(map(str, rules)) == ["ck_job_lane", "ck_job_state"]  # once each
    for wrong in ("lane = 'fast'", "state = 'gone'"):
        with pytest.raises(IntegrityError), database.engine.begin() as connection:
            connection.execute(text(f"update job set {wrong}"))
    database.dispose()
    migrations.check(empty_database_url)


def test_an_alert_from_before_incidents_becomes_one_with_its_headline(empty_database_url: str) -> None:
    configuration, now = migrations.configuration(empty_database_url), datetime(2026, 1, 5, tzinfo=UTC)
    command.upgrade(configuration, "0001")
    database = Database(empty_database_url)
    before = MetaData()
    before.reflect(database.engine, only=["model", "alert"])
    model, alert, told = uuid4(), uuid4(), {"scale": "1d", "first_window": None, "told_at": now.isoformat()}
    with database.engine.begin() as connection:
        facts = {"id": key(database, model), "name": "loans", "revision": 1, "next_outcome": 0, "created_at": now}
        connection.execute(before.tables["model"].insert().values(**facts))
        connection.execute(
            before.tables["alert"].insert().values(
                id=key(database, alert), model_id=key(database, model), monitor="drift", metric="p_value",
                column="amount", sentence="Drift.", windows=1, episodes=[told | {"sentence": "Drift."}], state="open",
                opened_at=now, confirmed_before=[], withdrawn_windows=0,
            )
        )  # fmt: skip
    migrations.upgrade(empty_database_url)
    with database.read() as db:
        found = db.get_one(Alert, alert)
        assert (found.severity, found.episodes[0]["headlines"][0]["columns"]) == ("warning", ["amount"])
        incident = db.get_one(Incident, found.incident_id)
        assert (incident.model_id, incident.headline, incident.state) == (model, "Drift.", "open")
    command.downgrade(configuration, "0001")
    with database.engine.begin() as connection:
        assert "headlines" not in connection.execute(select(before.tables["alert"].c.episodes)).scalar_one()[0]
    database.dispose()


def key(database: Database, id: UUID) -> str | UUID:
    """An id as the reflected tables take it: SQLite keeps it as text."""
    return id.hex if database.engine.dialect.name == "sqlite" else id
