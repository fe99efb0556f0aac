"""What a run needs to know: flags over COVERTYPE_… variables over [tool.covertype] in pyproject.toml."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from pipeline import ROOT, RequestError


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", value):
        raise ValueError("expected 1 to 40 of a-z, 0-9 and -, starting with a letter")
    return value


def _unexpanded(value: str) -> str:
    if "{{$" in value:
        raise ValueError("KFP would expand the {{$ in this name; rename the column")
    return value


class Settings(BaseSettings):
    """The settings of one run."""

    model_config = SettingsConfigDict(
        env_prefix="COVERTYPE_",
        pyproject_toml_table_header=("tool", "covertype"),
        toml_file=ROOT / "pyproject.toml",
        extra="forbid",
    )

    identifier: Annotated[str, AfterValidator(_identifier)]
    data: str = "sample"
    label: Annotated[str, AfterValidator(_unexpanded)] = "Cover_Type"
    runs_dir: Path = ROOT / "runs"

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
            if problem["type"] == "missing":
                problems.append(
                    f"{flag} is missing: give the flag, set COVERTYPE_{name.upper()}, "
                    f"or write {name} under [tool.covertype] in pyproject.toml."
                )
            elif problem["type"] == "extra_forbidden":
                problems.append(
                    f"[tool.covertype] in pyproject.toml has {name!r}, which is no setting. "
                    f"The settings are: {', '.join(Settings.model_fields)}."
                )
            else:
                reason = problem["msg"].removeprefix("Value error, ")
                problems.append(f"{flag} {problem['input']!r:.60}: {reason}.")
        raise RequestError("\n".join(problems)) from None
