"""Settings: command line over environment over auditor.toml over defaults."""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_config_path, user_data_path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from registry_auditor.domain import Severity
from registry_auditor.errors import UsageError

APP = "registry-auditor"
PREFIX = "REGISTRY_AUDITOR_"
FILE = "auditor.toml"


Names = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
"""One name, or a list of them."""


class Hook(BaseModel):
    """An inbound webhook: who may call `/hooks/SOURCE/ID`, and what a call is about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["hf", "mlflow", "standard"]
    """How its deliveries are signed."""
    secret_env: Names
    """Environment variables with its secrets; several while one is being replaced."""
    registry: str | None = None
    """The watched registry to look at when a delivery names no model."""


class Target(BaseModel):
    """Where finished audits are announced."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secret_env: Names
    """Environment variables with its signing secrets (`whsec_…`); several while one is being replaced."""
    severity: Severity = Severity.HIGH
    """Audits with a finding at or above it are announced."""
    incomplete: bool = True
    """Whether audits that end incomplete or with an error are announced too."""
    allow_private: tuple[str, ...] = ()
    """Private networks that the address may lie in, such as `10.1.0.0/16`."""


def default_db() -> str:
    """An SQLite file in the user's data folder."""
    return f"sqlite:///{user_data_path(APP, appauthor=False) / 'auditor.db'}"


def settings_file() -> Path | None:
    """The settings file in force: $REGISTRY_AUDITOR_CONFIG, ./auditor.toml, or the one in the user's config folder."""
    named = os.environ.get(f"{PREFIX}CONFIG")
    if named:
        if not Path(named).is_file():
            raise UsageError(f"{PREFIX}CONFIG names {named}, which is no file; run: registry-auditor config init")
        return Path(named)
    candidates = (Path(FILE), user_config_path(APP, appauthor=False) / FILE)
    return next((path for path in candidates if path.is_file()), None)


class Settings(BaseSettings):
    """Every setting, each with its default; `description` is what `config init` writes and the documentation shows."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid")

    db: str = Field(default_factory=default_db, description="Database of audits: any SQLAlchemy URL.")
    banks: str | None = Field(
        None,
        description="Folder or fsspec URL of bank files; by default `banks/` beside an SQLite database.",
        examples=["s3://bucket/banks"],
    )
    cache: Path = Field(
        default_factory=lambda: user_data_path(APP, appauthor=False) / "cache",
        description="Folder for what can be made again, such as the networks of `demo`.",
    )
    device: str = Field(
        "auto", description="`auto` (a GPU if there is one), `cpu`, or a torch device such as `cuda:1`."
    )
    fail_on: Severity = Field(Severity.HIGH, description="Lowest severity of a finding that fails an audit.")
    allow_incomplete: bool = Field(False, description="Whether an incomplete audit exits with 0 instead of 3.")
    timeout_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one analyzer may take on one model; unlimited by default.",
        examples=[600],
    )
    select: list[str] = Field(default_factory=list, description="Analyzers to run; all that are installed if empty.")
    analyzers: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Parameters, one table an analyzer; see `registry-auditor analyzers schema`."
    )
    registries: list[str] = Field(
        default_factory=list,
        description="What to watch: `dir:FOLDER`, `hf:AUTHOR`, `hf:base_model:ORG/NAME` or `mlflow:[URL]`.",
        examples=[["dir:/models", "hf:my-org"]],
    )
    poll_s: float = Field(60, gt=0, description="Seconds between two looks at what changed in a watched registry.")
    full_pass_s: float = Field(3600, gt=0, description="Seconds between two looks at everything in it.")
    settle_s: float = Field(5, ge=0, description="Seconds for which a folder must be quiet before it is audited.")
    broker: str = Field("redis://127.0.0.1:6379/0", description="Where workers are woken: any Celery broker URL.")
    lease_s: float = Field(
        60, ge=1, description="Seconds after which the audit of a silent worker is given to another."
    )
    max_claims: int = Field(3, ge=1, description="How often an audit is taken up before it is given up.")
    grace_s: float = Field(30, ge=0, description="Seconds that audits at work may take to finish when a worker stops.")
    child_memory_mib: int | None = Field(
        None, gt=0, description="A worker process that has grown past it is replaced after its audit.", examples=[8192]
    )
    cache_gib: float = Field(50, ge=0, description="Room for downloaded weights; the least recently used go first.")
    hooks: dict[str, Hook] = Field(
        default_factory=dict, description="Inbound webhooks by id, one table each: source, secret_env, registry."
    )
    reads_per_minute: int = Field(
        1200, ge=1, description="How often a minute a token may read; each process of `serve` counts for itself."
    )
    writes_per_minute: int = Field(1200, ge=1, description="How often a minute a token may write; the same.")
    notifications: dict[str, Target] = Field(
        default_factory=dict,
        description="Where finished audits are announced, one table each: url, secret_env, severity, allow_private.",
    )

    @property
    def downloads(self) -> tuple[Path, int]:
        """Where what registries fetch is kept, and how many bytes of it at most."""
        return self.cache / "models", int(self.cache_gib * 2**30)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values, then the environment, then the settings file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=settings_file())


def load(**given: Any) -> Settings:
    """The settings in force; values in `given` that are not None come first.

    Raises:
        UsageError: for an unknown key or a value that does not fit; it names the key and the nearest known one.
    """
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise UsageError("; ".join(_problem(each) for each in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{settings_file()}: is no TOML: {error}") from None
    except SettingsError as error:
        raise UsageError(f"{error}; in the environment, lists and tables are written as JSON") from None


def origins(settings: Settings) -> dict[str, str]:
    """For every setting, where its value comes from: `environment`, the settings file, or `default`."""
    file = settings_file()
    from_file = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    origin = {}
    for key in type(settings).model_fields:
        variable = f"{PREFIX}{key}".upper()
        in_environment = any(f"{name}__".upper().startswith(f"{variable}__") for name in os.environ)
        origin[key] = "environment" if in_environment else str(file) if key in from_file else "default"
    return origin


def _problem(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"setting {key}: {error['msg']}"
    near = get_close_matches(key, list(Settings.model_fields), n=1)
    known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(Settings.model_fields)}"
    return f"unknown setting {key!r}; {known}"
