"""Settings of the ledger: its name, and where its checkpoints are kept."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.settings_train import listed


class LedgerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    origin: str = Field("assay.local/ledger", description="name of this installation's ledger in its checkpoints")
    anchor: Path | None = Field(
        None, description="folder outside the database that receives every checkpoint; empty means `anchor` under home"
    )
    last_seen: Path | None = Field(
        None,
        description="file that keeps the newest signed checkpoint, so that a shortened ledger is not signed; empty "
        "means `HOME.last-seen` beside the home folder",
    )
    witnesses: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (),
        description="witnesses that are asked to cosign each checkpoint, such as `KEY https://host/api/v1/witness, KEY "
        "https://...`",
    )
    witness_of: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (),
        description="public keys of the logs that this installation is a witness of, such as `KEY, KEY`",
    )
    anchor_alarm_s: int = Field(
        3600,
        ge=1,
        description="an anchor that takes no checkpoint for so long is an alarm, as is an unsigned log; seconds",
    )
    checkpoint_s: int = Field(60, ge=1, description="a log that has grown is checkpointed at least this often, seconds")


def beside_home(home: Path) -> Path:
    """Where the last-seen file of a home folder lies, unless a setting says otherwise."""
    return home.parent / f"{home.name or 'assay'}.last-seen"
