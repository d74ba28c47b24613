"""Settings of training: on what it runs, and where."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode


def _words(value: Any) -> Any:
    """A command written in one variable, as its arguments."""
    return tuple(shlex.split(value)) if isinstance(value, str) else value


def listed(value: Any) -> Any:
    """A list written as `a, b` in one variable."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class TrainSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where training runs; `auto` takes CUDA if there is one"
    )
    cards: int = Field(
        1, ge=1, description="GPUs that one training run uses, a process for each; on the CPU so many processes"
    )
    base_roots: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(listed)] = Field(
        (),
        description="folders in which base models may lie, such as `/models, ~/models`; empty means every folder that "
        "holds a model",
    )
    threads: int = Field(2, ge=1, description="CPU threads of one training process")
    runner: Literal["local", "command", "ray"] = Field(
        "local",
        description="where runs go: `local` (the worker trains), `command` (the worker submits each with "
        "ASSAY_TRAIN__COMMAND) or `ray` (a job on the cluster of ASSAY_ENGINE__RAY_ADDRESS)",
    )
    command: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        (),
        description="with runner `command`: a command that submits `assay train {run}` to a queue and returns, such as "
        "`sbatch train.sh {run}`; no shell",
    )
    num_gpus: int = Field(0, ge=0, description="with runner `ray`: GPUs that one run asks for")
    wait_s: int = Field(
        86400,
        ge=60,
        description="a run that was submitted and has not begun for this long is submitted again, seconds",
    )
    attempts: int = Field(3, ge=1, description="how often a killed training process is resumed before the run fails")
    country: str | None = Field(
        None,
        pattern="^[A-Z]{3}$",
        description="country whose electricity training uses, as three letters of ISO 3166 such as `DEU`, for the CO2e "
        "of its energy; empty means none is given",
    )

    @model_validator(mode="after")
    def _submits(self) -> "TrainSettings":
        if (self.runner == "command") != bool(self.command):
            raise ValueError("runner `command` and a command go together; set ASSAY_TRAIN__RUNNER=command and "
                             "ASSAY_TRAIN__COMMAND, such as `sbatch train.sh {run}`, or neither")  # fmt: skip
        if self.command and not any("{run}" in word for word in self.command[1:]):
            raise ValueError("command names no {run}; write it where the id of the run goes")
        return self
