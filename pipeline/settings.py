"""What a run needs to know: flags over COVERTYPE_… variables over [tool.covertype] in pyproject.toml."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AliasChoices, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from pipeline import ROOT, RequestError
from pipeline.profiles import PROFILES


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", value):
        raise ValueError("expected 1 to 40 of a-z, 0-9 and -, starting with a letter")
    return value


def _unexpanded(value: str) -> str:
    if "{{$" in value:
        raise ValueError("KFP would expand the {{$ in this name; rename the column")
    return value


def _bucket(value: str) -> str:
    name = value.removeprefix("gs://").rstrip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
        raise ValueError("expected the name of a bucket, with or without gs://")
    return name


def _api_endpoint(value: str) -> str:
    url = urlsplit(value if "://" in value else f"https://{value}")
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("plain http:// is for addresses of this machine only; use https://")
    return value


def _cron(value: str) -> str:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(value, datetime.now())
    except CronSimError as error:
        raise ValueError(f'{error}; expected minute, hour, day, month and weekday, as in "0 6 * * 1"') from None
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected the name of a time zone, such as Europe/Berlin") from None
    return value


def _google(name: str) -> Any:
    return Field(None, validation_alias=AliasChoices(f"COVERTYPE_{name}", f"GOOGLE_CLOUD_{name}"))


class Settings(BaseSettings):
    """The settings of one run."""

    model_config = SettingsConfigDict(
        env_prefix="COVERTYPE_",
        pyproject_toml_table_header=("tool", "covertype"),
        toml_file=ROOT / "pyproject.toml",
        extra="forbid",
        populate_by_name=True,
    )

    identifier: Annotated[str, AfterValidator(_identifier)] | None = None
    data: str = "sample"
    label: Annotated[str, AfterValidator(_unexpanded)] = "Cover_Type"
    engine: Literal["local", "vertex"] | None = None
    profile: Literal["auto", *PROFILES] = "auto"
    project: str | None = _google("PROJECT")
    region: str | None = _google("REGION")
    bucket: Annotated[str, AfterValidator(_bucket)] | None = None
    service_account: str | None = None
    api_endpoint: Annotated[str, AfterValidator(_api_endpoint)] | None = None
    schedule: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    poll_seconds: Annotated[float, Field(gt=0)] = 5.0
    runs_dir: Path = ROOT / "runs"

    def chosen_engine(self) -> tuple[str, str]:
        """Return the name of the engine and the reason for it."""
        if self.engine:
            return self.engine, "asked for"
        if self.project and self.bucket:
            return "vertex", f"project {self.project} and bucket {self.bucket} are set"
        return "local", "no project and bucket are set"

    def require(self, *names: str) -> None:
        """Check that settings are there.

        Raises:
            RequestError: some are not; all of them are in the one message.
        """
        missing = [_missing(name) for name in names if getattr(self, name) is None]
        if missing:
            raise RequestError("\n".join(missing))

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = PyprojectTomlConfigSettingsSource(settings_cls, ROOT / "pyproject.toml")
        return init_settings, sources["env_settings"], file


def settle(**flags: Any) -> Settings:
    """Return the settings of a run; a flag that is None was not given.

    Raises:
        RequestError: a value is missing or wrong; all of them are in the one message.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            name = str(problem["loc"][0])
            flag = "--" + name.replace("_", "-")
            if problem["type"] == "extra_forbidden":
                problems.append(
                    f"[tool.covertype] in pyproject.toml has {name!r}, which is no setting. "
                    f"The settings are: {', '.join(Settings.model_fields)}."
                )
            else:
                reason = problem["msg"].removeprefix("Value error, ")
                problems.append(f"{flag} {problem['input']!r:.60}: {reason}.")
        raise RequestError("\n".join(problems)) from None


def _missing(name: str) -> str:
    variable = f"GOOGLE_CLOUD_{name.upper()}" if name in ("project", "region") else f"COVERTYPE_{name.upper()}"
    return (
        f"--{name.replace('_', '-')} is missing: give the flag, set {variable}, "
        f"or write {name} under [tool.covertype] in pyproject.toml."
    )
