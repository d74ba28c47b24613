"""Read the config file of a process."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from retrain.train.errors import ConfigFileError

Config = TypeVar("Config", bound=BaseModel)


def load_config(path: Path, kind: type[Config]) -> Config:
    """Read a config file.

    Raises:
        ConfigFileError: not there, not JSON, or not a valid config; the message lists field, value and reason.
    """
    try:
        return kind.model_validate_json(path.read_bytes(), context=path.parent)
    except FileNotFoundError as error:
        raise ConfigFileError(f"config {path} does not exist; give the path of a JSON file", path=str(path)) from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {_short(e['input'])}: {e['msg']}" for e in error.errors()]
        raise ConfigFileError(f"config {path}: " + "; ".join(lines), path=str(path)) from error


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
