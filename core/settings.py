"""Settings: one frozen tree, read once at start-up from ASSAY_* variables and passed on."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import InvalidError
from core.settings_access import AccessSettings, OidcSettings
from core.settings_ledger import LedgerSettings, beside_home
from core.settings_signer import SignerSettings
from core.settings_train import TrainSettings, listed
from core.zones import zone_of

PREFIX = "ASSAY_"
DELIMITER = "__"
NAME: Final = "NAME"  # stands in the list of variables for a name that the user chooses
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SECRETS: Final = ("channels", "endpoints", "heartbeat", "signer", "anchors", "oidc")  # groups of secret values
CHANNEL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DbSettings(_Group):
    url: SecretStr | None = Field(None, description="SQLAlchemy URL; empty means SQLite under the home folder")
    pool_size: int = Field(5, ge=1, description="connections kept open on PostgreSQL")


class LakeSettings(_Group):
    uri: str | None = Field(None, description="folder of the Delta tables; empty means `lake` under the home folder")


class ServerSettings(_Group):
    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8100, ge=0, le=65535, description="port the API listens on; 0 picks a free one")
    max_body_mb: int = Field(
        64, ge=1, description="largest request body that is accepted, in MiB; larger ones are answered 413"
    )
    max_under_way_mb: int = Field(
        256,
        ge=1,
        description="request bodies that are being read and stored, in MiB, counted as they arrive; beyond it the "
        "slowest is answered 503, or the newest if none is slow",
    )
    head_s: float = Field(
        20, gt=0, description="a connection whose request line and headers take longer than this is closed, seconds"
    )
    stalled_body_s: float = Field(
        30,
        gt=0,
        description="a request from which nothing arrives for this long is answered 408; a client that takes "
        "nothing of its answer for this long is cut off; seconds",
    )
    min_bytes_per_s: int = Field(
        500,
        ge=1,
        description="least rate at which a body must arrive and an answer must be taken, after "
        "ASSAY_SERVER__STALLED_BODY_S; bytes a second",
    )
    max_unfolded_mb: int = Field(
        256, ge=1, description="rows in the log that wait to be flushed, in MiB; beyond it requests are answered 503"
    )
    session_hours: float = Field(
        12, gt=0, le=720, description="a person who signed in to the pages signs in again after this time, hours"
    )
    session_idle_minutes: float = Field(
        120, gt=1, description="a page session that is not used for this long ends, minutes"
    )


class QueueSettings(_Group):
    poll_s: float = Field(0.2, gt=0, description="pause between two queries of the jobs table, seconds")
    lease_s: int = Field(
        30, ge=2, description="a job whose worker has not renewed its lease for this long is taken over"
    )
    tick_s: float = Field(1.0, gt=0, description="seconds between two ticks of the scheduler")


class WorkSettings(_Group):
    """What one job of the worker may use, so that no model delays the others."""

    turn_s: float = Field(
        1.0, gt=0, description="a job that runs longer goes on in the background and others get its place, seconds"
    )
    limit_s: float = Field(600, gt=0, description="a job that runs longer is stopped and put off, seconds")
    memory_mb: int = Field(
        4096, ge=256, description="a job whose process uses more memory is stopped and put off, in MiB"
    )
    long_processes: int = Field(3, ge=1, description="processes of one worker for jobs that run longer than a turn")


class BudgetSettings(_Group):
    """What the runs of all models together may use; the spec of a model has its own."""

    runs_per_day: int | None = Field(None, ge=0, description="most retrains of all models that start in a day, UTC")
    runs_per_month: int | None = Field(None, ge=0, description="most retrains of all models that start in a month, UTC")
    gpu_hours_per_day: float | None = Field(
        None, ge=0, description="most hours of training and evaluation of all models in a day, on GPU or CPU"
    )
    gpu_hours_per_month: float | None = Field(
        None, ge=0, description="most hours of training and evaluation of all models in a month"
    )
    kwh_per_day: float | None = Field(
        None, ge=0, description="most energy of training and evaluation of all models in a day, as estimated; kWh"
    )
    kwh_per_month: float | None = Field(
        None, ge=0, description="most energy of training and evaluation of all models in a month, as estimated; kWh"
    )


class EngineSettings(_Group):
    kind: Literal["loky", "ray"] = Field(
        "loky",
        description="engine for large work on many files: `loky` (processes on this machine) or `ray` (a cluster)",
    )
    jobs: int = Field(
        1, ge=1, description="processes that one worker uses for it; 1 keeps the work in the worker itself"
    )
    ray_address: str | None = Field(
        None, description="host:port of the Ray cluster; empty means RAY_ADDRESS, or a cluster on this machine"
    )


class RouteSettings(_Group):
    """Which messages a channel receives, and when. A channel without a route receives all at once."""

    severity: Literal["info", "warning", "critical"] = Field("info", description="least severity that is sent there")
    models: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (), description="models by name or pattern, such as `support-*, loans`; empty means all"
    )
    owners: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (), description="owners by name or pattern, as specs declare them; empty means all"
    )
    hours: str | None = Field(
        None, description="time of day in which messages are sent, such as `08:00-18:00`; others wait for it"
    )
    days: str | None = Field(
        None, description="days on which messages are sent, such as `mon-fri`; others wait for them"
    )
    zone: str = Field("UTC", description="time zone of hours and days, such as `Europe/Zurich`")
    digest: Literal["off", "daily", "weekly"] = Field(
        "off", description="`daily` or `weekly`: one message with everything since the last, instead of one an incident"
    )

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str | None) -> str | None:
        if value is not None and hours_of(value) is None:
            raise ValueError("write two different times of day, such as 08:00-18:00")
        return value

    @field_validator("days")
    @classmethod
    def _days(cls, value: str | None) -> str | None:
        if value is not None and days_of(value) is None:
            raise ValueError(f"write one day or two with a hyphen, such as mon-fri; days are {', '.join(DAYS)}")
        return value

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        zone_of(value)
        return value


def hours_of(text: str) -> tuple[time, time] | None:
    """Begin and end of `08:00-18:00`; None for another form. The end may lie on the next day."""
    parts = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", text.replace(" ", ""))
    numbers = [int(part) for part in parts.groups()] if parts else []
    if not numbers or max(numbers[0], numbers[2]) > 23 or max(numbers[1], numbers[3]) > 59:
        return None
    begin, end = time(numbers[0], numbers[1]), time(numbers[2], numbers[3])
    return (begin, end) if begin != end else None


def days_of(text: str) -> frozenset[int] | None:
    """The weekdays of `mon-fri`, Monday is 0; None for another form. `sat-mon` runs over the end of the week."""
    ends = [DAYS.index(part) if part in DAYS else -1 for part in text.replace(" ", "").lower().split("-")]
    if len(ends) not in {1, 2} or -1 in ends:
        return None
    return frozenset((ends[0] + i) % 7 for i in range((ends[-1] - ends[0]) % 7 + 1))


class NotifySettings(_Group):
    base_url: str | None = Field(
        None,
        description="address under which people open the pages, such as https://assay.example.com, for links in "
        "messages; empty means ASSAY_CLIENT__URL, and if that is not set either the address of `assay serve`",
    )
    gather_s: float = Field(
        10, ge=0, description="alerts of one incident within this time go into one message, seconds"
    )
    cooldown_s: float = Field(
        3600,
        ge=0,
        description="least time between two messages of one incident and channel, unless it gets worse; seconds",
    )
    attempts: int = Field(12, ge=1, description="how often a message is tried before it counts as undeliverable")
    backoff_s: float = Field(
        5, gt=0, description="pause after the first failed try, doubled with each, at most an hour"
    )
    timeout_s: float = Field(20, gt=0, le=300, description="time that one try may take in all, seconds")
    attach_mb: float = Field(
        10, ge=0, le=50, description="largest report that an e-mail carries, MB; of a larger one it has the link alone"
    )
    digest_hour: int = Field(
        7, ge=0, le=23, description="hour of the day at which digests are sent, in the route's zone"
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s?#]+", value):
            raise ValueError("write an address that begins with http:// or https://")
        return value.rstrip("/") if value else value


class HeartbeatSettings(_Group):
    url: SecretStr | None = Field(
        None, description="address of an outside monitor that is asked for (GET) while Assay works; empty means none"
    )
    every_s: float = Field(60, ge=1, description="seconds between two heartbeats")


class ReportSettings(_Group):
    paper: Literal["a4", "us-letter"] = Field("a4", description="paper of the PDF of reports")


class LogSettings(_Group):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log level that is written"
    )


class ClientSettings(_Group):
    url: str = Field("http://127.0.0.1:8100", description="service that the command line talks to")
    key: SecretStr | None = Field(None, description="API key that the command line sends")


class Settings(BaseSettings):
    """Everything that can be set from outside. Thresholds and policies are not here: they live in model specs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(Path("~/.assay"), description="folder for everything that the installation keeps")
    db: DbSettings = DbSettings()
    lake: LakeSettings = LakeSettings()
    server: ServerSettings = ServerSettings()
    queue: QueueSettings = QueueSettings()
    work: WorkSettings = WorkSettings()
    access: AccessSettings = AccessSettings()
    oidc: OidcSettings = OidcSettings()
    ledger: LedgerSettings = LedgerSettings()
    signer: SignerSettings = SignerSettings()
    anchors: Mapping[str, SecretStr] = Field(
        default_factory=dict,
        description="a further anchor of checkpoints, by a name: file:///folder, s3://bucket/prefix, "
        "webhook+https://host/path, or rfc3161+https://host/path?certificate=/tsa.pem",
    )
    engine: EngineSettings = EngineSettings()
    train: TrainSettings = TrainSettings()
    budget: BudgetSettings = BudgetSettings()
    notify: NotifySettings = NotifySettings()
    channels: Mapping[str, SecretStr] = Field(
        default_factory=dict,
        description="a channel: the URL of Apprise or of a webhook under which it is reached, or of a folder or an "
        "object store (file:///folder, s3://bucket/prefix, gs://, abfs://), which takes reports alone",
    )
    routes: Mapping[str, RouteSettings] = Field(
        default_factory=dict, description="which messages a channel receives, by the name of the channel"
    )
    endpoints: Mapping[str, SecretStr] = Field(
        default_factory=dict, description="a served model that can be asked for scores: the http or https address to "
        "which rows are posted, with a token or a password in it if it asks for one",
    )  # fmt: skip
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    reports: ReportSettings = ReportSettings()
    log: LogSettings = LogSettings()
    client: ClientSettings = ClientSettings()

    @field_validator("channels")
    @classmethod
    def _named(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, url in value.items():
            if not CHANNEL_NAME.fullmatch(name):
                raise ValueError("a channel's name has letters, digits, - and _, at most 63, such as OPS")
            if not re.match(r"[a-z][a-z0-9+.-]*:", url.get_secret_value(), re.IGNORECASE):
                raise ValueError(f"channel {name} is no URL; write one such as slack://... or webhook+https://...")
        return value

    @field_validator("endpoints")
    @classmethod
    def _reached(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, url in value.items():
            if not CHANNEL_NAME.fullmatch(name):
                raise ValueError("an endpoint's name has letters, digits, - and _, at most 63, such as CREDIT")
            if not re.fullmatch(r"https?://[^\s/?#]+[^\s#]*", url.get_secret_value(), re.IGNORECASE):
                raise ValueError(
                    f"endpoint {name} is no address; write one such as https://:TOKEN@models.internal/score"
                )
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` alone reads an environment, and it reads the one it is given

    @property
    def home_dir(self) -> Path:
        return self.home.expanduser().resolve()

    @property
    def database_url(self) -> str:
        return self.db.url.get_secret_value() if self.db.url else f"sqlite:///{self.home_dir / 'assay.db'}"

    @property
    def pages_url(self) -> str:
        """Where people open the pages."""
        return self.notify.base_url or self.client.url.rstrip("/")

    def served_at(self, url: str) -> Self:
        """These settings where the service listens at a URL: links lead there, unless an address is set."""
        if self.notify.base_url is not None or "url" in self.client.model_fields_set:
            return self
        return self.model_copy(update={"notify": self.notify.model_copy(update={"base_url": url})})

    @property
    def lake_uri(self) -> str:
        return self.lake.uri or str(self.home_dir / "lake")

    @property
    def lake_dir(self) -> Path:
        """The lake's folder, where it is a local one."""
        return Path(self.lake_uri.removeprefix("file://")).expanduser()

    @property
    def anchor_dir(self) -> Path:
        return (self.ledger.anchor or self.home_dir / "anchor").expanduser().resolve()

    @property
    def last_seen_file(self) -> Path:
        """Beside the home folder and not in it, so that it is not restored, or rewritten, together with it."""
        return self.ledger.last_seen.expanduser().absolute() if self.ledger.last_seen else beside_home(self.home_dir)


def variables(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, str]]:
    """Every environment variable that means something, with its description; NAME stands for a name of the user's."""
    for name, field in model.model_fields.items():
        kind, variable = field.annotation, f"{prefix}{name.upper()}"
        if get_origin(kind) is Mapping:
            kind, variable = get_args(kind)[1], f"{variable}{DELIMITER}{NAME}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from variables(kind, f"{variable}{DELIMITER}")
        else:
            yield variable, field.description or ""


def _is_known(variable: str, known: set[str]) -> bool:
    """Whether a variable is in the list, with any name where NAME stands."""
    parts = variable.upper().split(DELIMITER)
    named = DELIMITER.join([*parts[:1], NAME, *parts[2:]]) if len(parts) > 1 and all(parts) else ""
    return variable.upper() in known or named in known


def _suggestion(variable: str, known: set[str]) -> str:
    """What a misspelt variable may have meant: the nearest names, or else where the names stand."""
    parts = variable.upper().split(DELIMITER)
    candidates = set(known)
    if len(parts) > 1:  # with the name that the user chose, where a variable has one
        candidates |= {k.replace(f"{DELIMITER}{NAME}", f"{DELIMITER}{parts[1]}") for k in known}
    close = difflib.get_close_matches(variable.upper(), candidates, n=2, cutoff=0.8)
    if close:
        return f"did you mean {' or '.join(close)}?"
    group = sorted(k for k in known if k.startswith(parts[0] + DELIMITER)) if len(parts) > 1 else []
    listed = f"those of {parts[0]} are {', '.join(group)}; " if group else ""
    return f"{listed}`assay settings` lists all"


def load(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings; refuse any ASSAY_* variable that matches no field.

    Raises:
        InvalidError: unknown variable or a value of the wrong kind, named with the fix.
    """
    environ = os.environ if environ is None else environ
    known = {name for name, _ in variables()}
    for name in sorted(n for n in environ if n.upper().startswith(PREFIX) and not _is_known(n, known)):
        raise InvalidError(f"unknown setting {name}: no such variable; {_suggestion(name, known)}", field=name)
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    values = source()
    for name, override in overrides.items():
        below = values.get(name)
        values[name] = {**below, **override} if isinstance(below, dict) and isinstance(override, dict) else override
    try:
        loaded = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["loc"][0] in (
            "channels",
            "endpoints",
            "heartbeat",
            "signer",
            "anchors",
            "oidc",
        ):  # their values are secrets
            raise InvalidError(f"setting {field}: {first['msg']}", field=field) from None
        raise InvalidError(f"setting {field}: {first['msg']} (got {first.get('input')!r})", field=field) from error
    for name in loaded.routes:
        if name not in loaded.channels:
            raise InvalidError(
                f"setting routes.{name}: there is no channel {name}; set {PREFIX}CHANNELS{DELIMITER}{name.upper()} too",
                field=f"routes.{name}",
            )
    return loaded


def azure_keys() -> dict[str, str]:
    """The key of a storage account, or else a token for it, where Azure's own tools look for them; by Arrow's names."""
    for name, variable in (("account_key", "AZURE_STORAGE_KEY"), ("sas_token", "AZURE_STORAGE_SAS_TOKEN")):
        if value := os.environ.get(variable):
            return {name: value}
    return {}
