"""Processes that live as long as a lease, and the settings that say where runs are trained."""

import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.process import Child, write_until
from core.settings_train import TrainSettings


def test_a_process_ends_itself_when_its_time_is_over_whatever_its_worker_does(tmp_path: Path) -> None:
    until = tmp_path / "until"
    write_until(until, time.monotonic() + 3600)
    child = Child("http.server", ["0", "--bind", "127.0.0.1"], log=tmp_path / "log", threads=1, until=until)
    try:
        time.sleep(0.5)
        assert child.process.poll() is None
        write_until(until, time.monotonic())
        assert child.process.wait(60) == -9
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"runner": "command"}, "ASSAY_TRAIN__COMMAND"),
        ({"command": "sbatch train.sh {run}"}, "ASSAY_TRAIN__RUNNER"),
        ({"runner": "command", "command": "sbatch train.sh"}, "{run}"),
        ({"runner": "slurm"}, "runner"),
    ],
)
def test_a_runner_and_its_command_go_together(given: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TrainSettings.model_validate(given)
    assert told in str(refused.value)
    found = TrainSettings.model_validate({"runner": "command", "command": "sbatch 'my train.sh' {run}"})
    assert found.command == ("sbatch", "my train.sh", "{run}")
