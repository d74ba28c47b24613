"""The configuration of a training run: the user's recipe and the run built from it. Both go into provenance."""

import json
import os
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from core.canonical import digest
from monitor.spec.base import KeyProblem
from retrain.train.chat_keys import Chat, Packing
from retrain.train.distillation import TeacherWeight, Teaching, Temperature
from retrain.train.kinds import KINDS, Task
from retrain.train.mitigation.keys import Mitigation, refusal
from retrain.train.speed.choose import Profile

Method = Literal["qlora", "lora", "full", "adalora", "prompt_tuning", "prefix_tuning", "ia3"]
VIRTUAL: Final = ("prompt_tuning", "prefix_tuning")  # methods whose rows start with words that are learned
NOT_MERGED: Final = {
    "prompt_tuning": "prompt_tuning puts words before a text, which are no part of any weight",
    "prefix_tuning": "prefix_tuning puts states before a text, which are no part of any weight",
    "full": "full trains the whole model, which is served as it is",
}
Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]

_PATH = re.compile(r"^(/|\./|\.\./|~/|[A-Za-z]:\\)")


def _from_file(path: Path, info: ValidationInfo) -> Path:
    return Path(os.path.normpath(info.context / path)) if isinstance(info.context, Path) else path


Place = Annotated[Path, AfterValidator(_from_file)]  # a relative one starts at the folder of the config file


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def record(self, *, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
        """The config as JSON for records and digests; of a path only the last part, which its digest or id is.

        Where files lie is no part of a run: a home folder that was moved or copied goes on with the same run.
        """
        found: dict[str, Any] = _json(self.model_dump(exclude=set(without)), lambda path: path.name)
        return found

    def file_text(self, folder: Path, home: Path) -> str:
        """The config file for `folder` under `home`; paths in and beside the home folder are relative to `folder`."""

        def place(path: Path) -> str:
            return os.path.relpath(path, folder) if path.is_relative_to(home.parent) else str(path)

        return json.dumps(_json(self.model_dump(), place), indent=1)


def _json(value: Any, place: Callable[[Path], str]) -> Any:
    if isinstance(value, Path):
        return place(value)
    if isinstance(value, dict):
        return {name: _json(below, place) for name, below in value.items()}
    return [_json(below, place) for below in value] if isinstance(value, list | tuple) else value


class Preference(Frozen):
    """Where pairs of answers come from: an event has the prediction and another answer, its outcome tells the better.

    The outcome names the column of the preferred answer. A boolean one is true where the prediction is preferred.
    Events with any other value are left out and counted.
    """

    other: str = Field(description="input column with the second answer; it is no part of the prompt")
    outcome: str = Field(description="outcome that names the column of the preferred answer, or is true or false")


def _composed(weights: Any) -> Any:
    """Weights by labels in Unicode's composed form, as outcomes have them; a label written in both forms is refused."""
    if not isinstance(weights, dict):
        return weights
    found = {normalize("NFC", name): weight for name, weight in weights.items()}
    if len(found) < len(weights):
        twice = next(name for name in weights if normalize("NFC", name) != name)
        raise ValueError(f"names {twice!r} twice, composed and decomposed; give the label one weight")
    return found


ClassWeights = Annotated[
    Literal["balanced"] | dict[str, Annotated[float, Field(ge=0, le=1e6)]] | None,
    AfterValidator(_composed),
    Field(
        description="for classification: how much a row of a label counts; `balanced` weighs every label alike, and a "
        "label that is not listed has weight 1",
        examples=["balanced", "{fraud: 5}"],
    ),
]
Validation = Annotated[
    float,
    Field(
        gt=0, le=0.5, description="with early_stopping, or start: best, share of the training rows that are looked at "
        "and not trained on; the gates judge other rows", json_schema_extra={"unit": "0..1"},
    ),
]  # fmt: skip


class Recipe(Frozen):
    """How to fine-tune, as written in a model's spec.

    `base_model` is a path when it starts with `/`, `./`, `../` or `~/`; anything else is a hub id, which is only
    reproducible with its commit, so it needs a `revision`. The defaults are the ones that
    bench/qlora_banking77.py measures, on a small model; bases of billions of parameters want a learning rate near 2e-4.
    """

    base_model: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = Field(
        description="a folder, as a path that starts with `/`, `./`, `../` or `~/`; or a hub id that is in the "
        "local cache",
        examples=["/models/qwen-0.5b"],
    )
    revision: str | None = Field(
        None,
        description="commit of the hub id; required with a hub id",
        examples=["060db6499f32faf8b98477b0a26969ef7d8b9987"],
    )
    method: Method = Field(
        default="qlora",
        description="what is trained: an adapter beside the base in 4 bits (`qlora`) or in 16 bits (`lora`, `adalora` "
        "which gives ranks to the layers that need them, `ia3`), words or states put before each text "
        "(`prompt_tuning`, `prefix_tuning`), or the whole model (`full`)",
    )
    task: Task = Field(
        description="`sequence_classification` learns labels, `causal_lm` answers, `dpo` which of two answers is "
        "preferred, starting from the champion"
    )
    preference: Preference | None = Field(
        default=None, description="with `dpo`: the two answers of an event, and the outcome that says which is better",
        examples=["{other: second_answer, outcome: preferred}"],
    )  # fmt: skip
    beta: float = Field(
        default=0.1, gt=0, le=10, description="with `dpo`: how strongly the model is held to the champion's answers; a "
        "smaller one lets it move further",
    )  # fmt: skip
    chosen_weight: float = Field(
        default=0.2, ge=0, le=10, description="with `dpo`: weight of the plain loss on preferred answers, which keeps "
        "them likely",
    )  # fmt: skip
    chat: Chat = Field(default=Chat(), description="for models that write: the format of a question and its answer")
    r: int = Field(
        default=16, ge=1, le=512, description="rank of the adapter; a higher one learns more and needs more memory"
    )
    lora_alpha: int = Field(default=32, ge=1, le=2048, description="scale of the adapter, usually twice its rank")
    lora_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of the adapter's inputs left out in training",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip
    use_dora: bool = Field(
        default=False, description="with qlora and lora: train the length of each weight's columns apart from their "
        "direction; slower, sometimes better at small ranks",
    )  # fmt: skip
    use_rslora: bool = Field(
        default=False, description="with qlora and lora: scale by the square root of the rank, for high ranks"
    )
    virtual_tokens: int = Field(
        default=20, ge=1, le=512, description="with prompt_tuning and prefix_tuning: how many are put before each text",
        json_schema_extra={"unit": "tokens"},
    )  # fmt: skip
    start: Literal["champion", "fresh", "best"] = Field(
        default="champion", description="go on from the champion's adapter where it has the same base, method and "
        "shape; always start from the base; or `best`: train both, as far as hours and energy allow, and keep the one "
        "that is better on the validation rows",
    )  # fmt: skip
    serve: Literal["adapter", "merged"] = Field(
        default="adapter", exclude_if=lambda value: value == "adapter",  # a recipe without it keeps its digest
        description="what gates judge and serving loads: the adapter beside its base, or a copy of the base in 16 bits "
        "into which it is merged (never into 4 bits)",
    )  # fmt: skip
    teacher: Teaching = None
    teacher_weight: TeacherWeight = 0.5
    temperature: Temperature = 2.0
    class_weights: ClassWeights = None
    mitigation: Mitigation | None = Field(
        default=None, exclude_if=lambda value: value is None,  # a recipe without it keeps its digest
        description="for classification: how groups are treated more alike, and the trade-off that is shown before "
        "anybody approves a run; see [mitigation](retraining.md#mitigation)",
        examples=["{method: reweigh, by: [sex]}"],
    )  # fmt: skip
    train_words: bool = Field(
        default=True, description="for classification with qlora and lora: adapt the base's table of words too, as "
        "new classes come with words that it hardly knows; not with a teacher",
    )  # fmt: skip
    hide_words: float = Field(
        default=0.0, ge=0, lt=1, description="for classification: share of a text's tokens that a training step sees "
        "as unknown, so that no class hangs on one word; none with a teacher, or without a token for that",
        json_schema_extra={"unit": "0..1"},
    )  # fmt: skip
    early_stopping: int | None = Field(
        default=None, ge=1, description="stop when the loss on the validation rows has not fallen for so many of ten "
        "looks per run, and keep the best", examples=["3"], json_schema_extra={"unit": "looks"},
    )  # fmt: skip
    validation: Validation = 0.1
    learning_rate: float = Field(
        default=2e-3, gt=0, le=1, description="step size; bases of billions of parameters want a rate near 2e-4"
    )
    epochs: float = Field(
        default=4,
        gt=0,
        le=1000,
        description="passes over the training set; time grows with them",
        json_schema_extra={"unit": "passes"},
    )
    batch_size: int = Field(
        default=32, ge=1, description="rows of one step; memory grows with them", json_schema_extra={"unit": "rows"}
    )
    gradient_accumulation_steps: int = Field(default=1, ge=1, description="batches that are added up before a step")
    max_length: int = Field(
        default=64, ge=2, description="longest text; what is longer is cut, and memory grows with it",
        json_schema_extra={"unit": "tokens"},
    )  # fmt: skip
    warmup_ratio: float = Field(
        default=0.06,
        ge=0,
        le=1,
        description="share of the steps in which the rate rises",
        json_schema_extra={"unit": "0..1"},
    )
    weight_decay: float = Field(default=0.0, ge=0, description="pull of the weights towards 0")
    max_grad_norm: float = Field(default=1.0, gt=0, description="longest gradient; longer ones are cut to it")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="start of every random choice; the same seed repeats a run"
    )
    packing: Packing = "auto"
    speed: Profile = Field(
        default="auto",
        description="how a GPU is used: `fast` computes nothing twice, `lean` needs at most three quarters of a plain "
        "run's memory, `auto` is the fastest that fits; on the CPU they are one",
    )
    memory_gib: float | None = Field(
        default=None, gt=0, description="most memory of the GPU that training may use; without it, what is free",
        examples=["16"], json_schema_extra={"unit": "GiB"},
    )  # fmt: skip

    @model_validator(mode="after")
    def _hub_id_is_pinned(self) -> Self:
        if not self.is_path and not self.revision:
            raise KeyProblem(
                ("revision",),
                f"is missing, and base_model {self.base_model!r} is a hub id; add revision: <commit>, "
                "or give a folder as a path that starts with / or ./",
            )
        return self

    @model_validator(mode="after")
    def _keys_fit_the_method(self) -> Self:
        if self.method not in ("qlora", "lora"):
            for name in ("use_dora", "use_rslora"):
                if getattr(self, name):
                    raise KeyProblem(
                        (name,), f"is true, and method is {self.method}; leave it out, or use lora or qlora"
                    )
        if self.serve == "merged" and self.method in NOT_MERGED:
            raise KeyProblem(("serve",), f"is merged, and {NOT_MERGED[self.method]}; leave it out")
        if self.class_weights is not None and not KINDS[self.task].classifies:
            raise KeyProblem(("class_weights",), f"is set, and task {self.task} has no classes; leave it out")
        if self.teacher is not None and self.task == "dpo":
            raise KeyProblem(("teacher",), "is set, and dpo is held to the champion by beta; leave it out")
        return self

    @model_validator(mode="after")
    def _mitigation_fits(self) -> Self:
        if self.mitigation is None:
            return self
        if (why := refusal(self.mitigation.method, self.task)) is not None:
            raise KeyProblem(("mitigation", "method"), why)
        if self.teacher is not None:
            raise KeyProblem(
                ("mitigation",), "is set, and with a teacher rows are learned as it answers them; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _preference_fits_the_task(self) -> Self:
        if self.task == "dpo" and self.preference is None:
            raise KeyProblem(
                ("preference",), "is missing, and a dpo recipe needs it; write preference: {other: <input with the "
                "second answer>, outcome: <outcome that says which is better>}",
            )  # fmt: skip
        if self.task == "dpo" and self.method not in ("qlora", "lora"):
            raise KeyProblem(("method",), f"is {self.method}, and dpo goes on from an adapter; use qlora or lora")
        if self.task == "dpo" and self.start != "champion":
            raise KeyProblem(("start",), f"is {self.start}, and a dpo recipe starts from the champion; leave it out")
        if self.task != "dpo" and self.preference is not None:
            raise KeyProblem(("preference",), f"is set, and task {self.task} has no pairs; leave it out, or use dpo")
        return self

    @model_validator(mode="after")
    def _chat_fits_the_task(self) -> Self:
        if KINDS[self.task].classifies and self.chat != Chat():
            raise KeyProblem(("chat",), f"is set, and task {self.task} writes no answers; leave it out")
        if self.task == "dpo" and self.chat.learn == "all":
            raise KeyProblem(("chat", "learn"), "is all, and dpo learns the two answers alone; leave it out")
        return self

    @model_validator(mode="after")
    def _packing_fits(self) -> Self:
        if self.packing is True and self.task != "causal_lm":
            raise KeyProblem(("packing",), f"is true, and rows of task {self.task} are not packed; leave it out")
        if self.packing is True and self.teacher is not None:
            raise KeyProblem(("packing",), "is true, and with a teacher each row stands alone; leave one of them out")
        if self.packing is True and self.method in VIRTUAL:
            raise KeyProblem(("packing",), f"is true, and {self.method} adds words to each row; leave it out")
        return self

    @property
    def is_path(self) -> bool:
        return is_a_path(self.base_model)


def is_a_path(base_model: str) -> bool:
    return bool(_PATH.match(base_model))


def place_of(base_model: str, home: Path) -> Path:
    """The folder that a path names; a relative one starts at the home folder."""
    return (home / Path(base_model).expanduser()).resolve()


class DatasetFile(Frozen):
    """A Parquet file and the digest it must have: columns as `retrain.train.kinds` says."""

    path: Place
    sha256: Sha256


LIMITS: Final = (
    "holdout", "cards", "card", "country", "max_seconds", "max_kwh", "max_cut_share", "max_parameters", "fresh_because",
)  # fmt: skip


class RunFiles(Frozen):
    """What every run is given, whatever it trains: its rows, its folders and its limits."""

    run_id: Annotated[str, StringConstraints(min_length=1)]
    base_dir: Place
    train: DatasetFile
    eval: DatasetFile
    labels: tuple[str, ...] = ()
    output_dir: Place
    progress: Place
    holdout: DatasetFile | None = None  # only counted: what of it the longest text leaves
    threads: int = Field(default=1, ge=1)
    country: str | None = None  # ISO 3166 code of three letters, for CO2e
    max_seconds: float | None = Field(default=None, gt=0)
    max_kwh: float | None = Field(default=None, gt=0)
    max_cut_share: float | None = Field(default=None, ge=0, le=1)  # of a set's rows, dropped or cut
    max_parameters: int | None = Field(default=None, ge=1)  # trained

    def digest(self) -> str:
        """Digest of all that determines the result but the base, which has its own.

        Where files lie and the limits of the run determine nothing.
        """
        return digest(self.record(without={"base_dir", "teacher_dir", "output_dir", "progress", *LIMITS}))


class Teacher(Frozen):
    """The version that a run learns from, by the digests of its base and its adapter."""

    version: str
    base_model: str
    base_digest: Sha256
    adapter: Place | None = None
    revision: str | None = Field(default=None, exclude_if=lambda value: value is None)  # of a hub model


class RunConfig(RunFiles):
    """One run of a recipe for a language model, complete: nothing else is read from anywhere.

    `rehearsed` counts the first training rows, which the champion may have learned from, where training goes on from
    it: with `start: best` none of them is a validation row, and a classifier leaves out another third of them in
    each epoch. `fresh_because` says why training starts from the base where it should not. `phase` is
    set in each of the two trainings of `start: best`.
    """

    recipe: Recipe
    parent_adapter: Place | None = None
    teacher: Teacher | None = None
    teacher_dir: Place | None = None  # folder of the teacher's base
    device: Literal["auto", "cpu", "cuda"] = "auto"
    rehearsed: int | None = Field(default=None, ge=0, exclude_if=lambda value: value is None)
    fresh_because: str | None = Field(default=None, exclude_if=lambda value: value is None)
    phase: Literal["champion", "fresh"] | None = Field(default=None, exclude_if=lambda value: value is None)
    cards: int = Field(default=1, ge=1)
    card: int | None = Field(default=None, ge=0)  # of a process that trains together with others

    @model_validator(mode="after")
    def _labels_fit_the_task(self) -> Self:
        classifies = KINDS[self.recipe.task].classifies
        if classifies and len(self.labels) < 2:
            raise ValueError(f"labels: {list(self.labels)} has fewer than two entries; list every label in order")
        if not classifies and self.labels:
            raise ValueError(f"labels: a {self.recipe.task} run has none; leave the list empty")
        if (self.recipe.teacher is None) != (self.teacher is None) or (self.teacher is None) != (
            self.teacher_dir is None
        ):
            raise ValueError("teacher: a recipe with a teacher needs the version and the folder of its base; give both")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: an entry is repeated; list every label once")
        return self
