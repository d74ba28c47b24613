"""The configuration of an evaluation process."""

from typing import Literal

from pydantic import Field

from core.canonical import digest
from retrain.train.chat_keys import Chat
from retrain.train.config import DatasetFile, Frozen, Place
from retrain.train.kinds import AnyTask


class ModelFiles(Frozen):
    """A model to evaluate: a base, or a base with an adapter; without `quantise` as it was trained.

    A classifier without a usable head cannot answer. With `headless` it is not loaded: the most frequent label of each
    set of rows stands for it, which no constant answer beats.
    """

    base_dir: Place
    adapter_dir: Place | None = None
    quantise: bool | None = None
    headless: bool = False


class EvalConfig(Frozen):
    """Champion and challenger, and the rows both answer.

    `new` is the held-out end of the new data, `old` the hold-out of earlier data that shows forgetting. Both may have
    a text column `row_id`, repeated in the predictions; without it rows are numbered.
    """

    run_id: str
    task: AnyTask
    champion: ModelFiles
    challenger: ModelFiles
    new: DatasetFile
    old: DatasetFile | None = None
    golden: DatasetFile | None = None  # with row_id
    writes: bool = False  # whether answers are written to the held-out prompts and scored
    chat: Chat = Chat(template="none")  # format of a base without adapter; what was trained has its own
    probes: tuple[Literal["robustness", "latency"], ...] = ()  # gates for which more is asked than the rows
    safety_prompts: tuple[str, ...] = ()
    max_length: int | None = Field(default=None, ge=2, description="tokens, the same for both models")
    probe_rows: int = Field(default=64, ge=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    output_dir: Place
    progress: Place
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    country: str | None = None  # ISO 3166 code of three letters, for CO2e

    def digest(self) -> str:
        """Digest of all that determines the result; where files lie, and in which country, does not."""
        return digest(self.record(without={"output_dir", "progress", "country"}))
