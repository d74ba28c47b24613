"""Settings: one frozen tree, read once at start-up from ASSAY_* variables and passed on."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import InvalidError

PREFIX = "ASSAY_"
DELIMITER = "__"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
        description="bodies of rows that are being read and stored, in MiB; beyond it requests are answered 503",
    )
    stalled_body_s: float = Field(
        30, gt=0, description="a request from which nothing arrives for this long is answered 408, seconds"
    )
    max_unfolded_mb: int = Field(
        256, ge=1, description="rows in the log that wait to be flushed, in MiB; beyond it requests are answered 503"
    )


class QueueSettings(_Group):
    poll_s: float = Field(0.2, gt=0, description="pause between two queries of the jobs table, seconds")
    lease_s: int = Field(
        30, ge=2, description="a job whose worker has not renewed its lease for this long is taken over"
    )
    tick_s: float = Field(1.0, gt=0, description="seconds between two ticks of the scheduler")


class LedgerSettings(_Group):
    origin: str = Field("assay.local/ledger", description="name of this installation's ledger in its checkpoints")
    anchor: Path | None = Field(
        None, description="folder outside the database that receives every checkpoint; empty means `anchor` under home"
    )
    checkpoint_s: int = Field(60, ge=1, description="a log that has grown is checkpointed at least this often, seconds")


class TrainSettings(_Group):
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where training runs; `auto` takes CUDA if there is one"
    )
    threads: int = Field(2, ge=1, description="CPU threads of one training process")
    attempts: int = Field(3, ge=1, description="how often a killed training process is resumed before the run fails")


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
    ledger: LedgerSettings = LedgerSettings()
    engine: EngineSettings = EngineSettings()
    train: TrainSettings = TrainSettings()
    log: LogSettings = LogSettings()
    client: ClientSettings = ClientSettings()

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
    def lake_uri(self) -> str:
        return self.lake.uri or str(self.home_dir / "lake")

    @property
    def lake_dir(self) -> Path:
        """The lake's folder, where it is a local one."""
        return Path(self.lake_uri.removeprefix("file://")).expanduser()

    @property
    def anchor_dir(self) -> Path:
        return (self.ledger.anchor or self.home_dir / "anchor").expanduser().resolve()


def variables(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, str]]:
    """Every environment variable that means something, with its description."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from variables(kind, f"{prefix}{name.upper()}{DELIMITER}")
        else:
            yield f"{prefix}{name.upper()}", field.description or ""


def load(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings; refuse any ASSAY_* variable that matches no field.

    Raises:
        InvalidError: unknown variable or a value of the wrong kind, named with the fix.
    """
    environ = os.environ if environ is None else environ
    known = {name for name, _ in variables()}
    for name in sorted(n for n in environ if n.upper().startswith(PREFIX) and n.upper() not in known):
        close = ", ".join(sorted(k for k in known if k.split("_")[1:2] == name.upper().split("_")[1:2])) or "see README"
        raise InvalidError(f"unknown setting {name}: no such variable; known ones like it: {close}", field=name)
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environ.items() if value}
    values = source()
    for name, override in overrides.items():
        below = values.get(name)
        values[name] = {**below, **override} if isinstance(below, dict) and isinstance(override, dict) else override
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidError(f"setting {field}: {first['msg']} (got {first.get('input')!r})", field=field) from error


def azure_keys() -> dict[str, str]:
    """The key of a storage account, or else a token for it, where Azure's own tools look for them; by Arrow's names."""
    for name, variable in (("account_key", "AZURE_STORAGE_KEY"), ("sas_token", "AZURE_STORAGE_SAS_TOKEN")):
        if value := os.environ.get(variable):
            return {name: value}
    return {}
