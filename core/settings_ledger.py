"""Settings of the ledger: its name, and where its checkpoints are kept."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


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
    checkpoint_s: int = Field(60, ge=1, description="a log that has grown is checkpointed at least this often, seconds")


def beside_home(home: Path) -> Path:
    """Where the last-seen file of a home folder lies, unless a setting says otherwise."""
    return home.parent / f"{home.name or 'assay'}.last-seen"
