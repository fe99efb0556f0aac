"""What a run needs to know: flags over COVERTYPE_… variables over what stands in pyproject.toml.

There a setting of the environment that --env names, [tool.covertype.environments.prod], goes before one of
[tool.covertype].
"""

import difflib
import os
import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pipeline import ROOT, RequestError, files
from pipeline.profiles import PROFILES
from pipeline.texts import printable, shortened
from steps.environment import BASE_IMAGE

NO_IMAGE = "none"  # models are registered without a container that serves them
PYPROJECT = ROOT / "pyproject.toml"
ENVIRONMENTS = "environments"  # the table of tables in [tool.covertype]


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", value):
        raise ValueError("expected 1 to 40 of a-z, 0-9 and -, starting with a letter")
    return value


def _unexpanded(value: str) -> str:
    if "{{$" in value:
        raise ValueError("KFP would expand the {{$ in this name; rename the column")
    return value


def _some_text(value: str) -> str:
    if not value.strip() or re.search("[\ud800-\udfff]", value):  # of bytes that are no UTF-8
        raise ValueError("expected some text in UTF-8")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,249}", value):
        raise ValueError("expected 1 to 250 of A-Z, a-z, 0-9 and . _ : @ -, starting with a letter or a digit")
    return value


def _folder(value: Path) -> Path:
    if not str(value).isprintable():
        raise ValueError("expected the path of a folder, without control characters and in UTF-8")
    return Path(os.path.abspath(value.expanduser()))


def _bucket(value: str) -> str:
    name = value.removeprefix("gs://").rstrip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
        raise ValueError("expected the name of a bucket, with or without gs://")
    return name


def _image(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][\w.:/-]*[:@][\w.:-]+", value, re.ASCII):
        raise ValueError("expected the place of a container image with its tag, as docker.io/library/python:3.11")
    return value


def _image_or_none(value: str) -> str:
    try:
        return value if value == NO_IMAGE else _image(value)
    except ValueError as error:
        raise ValueError(f"{error}, or none") from None


def _index_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"[\s'\"\\$`]", value):
        raise ValueError("expected the address of a package index, as https://HOST/simple")
    if url.username or url.password:
        raise ValueError(
            "a name or password would stand in the spec and in every log; let the index know the tasks' account"
        )
    return value


def _matching(pattern: str, expected: str) -> AfterValidator:
    """Return the rule that a value matches a pattern."""

    def checked(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(checked)


NETWORK = _matching(
    r"projects/[\w.:-]+/global/networks/[a-z][a-z0-9-]{0,62}", "projects/PROJECT/global/networks/NETWORK"
)
KEY = _matching(
    r"projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63}",
    "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY",
)
ATTACHMENT = _matching(
    r"projects/[\w.:-]+/regions/[\w-]+/networkAttachments/[a-z][a-z0-9-]{0,62}",
    "projects/PROJECT/regions/REGION/networkAttachments/NAME",
)
RANGES = _matching(r"[a-z][a-z0-9-]{0,62}(,[a-z][a-z0-9-]{0,62})*", "names of ranges, with commas between them")
RESOURCE = _matching(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", "the id of a persistent resource of the project and region")


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


def _address(value: str) -> str:
    from steps import notices  # which imports requests

    kept = r"env:[A-Za-z_]\w*|secret:projects/[\w.:-]+/secrets/[\w-]{1,255}(/versions/\w+)?"
    mail = r"[^@\s:/]+@[^@\s:/]+\.[^@\s:/]+"
    if not (re.fullmatch(f"{kept}|{mail}", value, re.ASCII) or notices.is_webhook(value)):
        raise ValueError(
            "expected the https:// address of a webhook, secret:projects/PROJECT/secrets/NAME or env:NAME that holds "
            "one, or an e-mail address; what came is not shown, since it may be secret"
        )
    return value


def _google(name: str) -> Any:
    return Field(None, validation_alias=AliasChoices(f"COVERTYPE_{name}", f"GOOGLE_CLOUD_{name}"))


class Settings(BaseSettings):
    """The settings of one run."""

    model_config = SettingsConfigDict(
        env_prefix="COVERTYPE_",
        env_ignore_empty=True,
        extra="forbid",
        populate_by_name=True,
    )

    env: Annotated[str, AfterValidator(_identifier)] | None = None  # the environment whose table counts
    identifier: Annotated[str, AfterValidator(_identifier)] | None = None
    data: Annotated[str, AfterValidator(_some_text)] = "sample"
    label: Annotated[str, AfterValidator(_some_text), AfterValidator(_unexpanded)] = "Cover_Type"
    engine: Literal["local", "vertex"] | None = None
    profile: Literal["auto", *PROFILES] = "auto"  # type: ignore[valid-type]
    project: Annotated[str, AfterValidator(_name)] | None = _google("PROJECT")
    region: Annotated[str, AfterValidator(_name)] | None = _google("REGION")
    bucket: Annotated[str, AfterValidator(_bucket)] | None = None
    service_account: Annotated[str, AfterValidator(_name)] | None = None
    serving_image: Annotated[str, AfterValidator(_image_or_none)] | None = None
    base_image: Annotated[str, AfterValidator(_image)] = BASE_IMAGE
    packages: Literal["index", "bucket"] = "index"
    index_url: Annotated[str, AfterValidator(_index_url)] | None = None
    fuse: bool = False
    parallelism: Annotated[int, Field(ge=1, le=100)] | None = None
    network: Annotated[str, NETWORK] | None = None
    reserved_ip_ranges: Annotated[str, RANGES] | None = None
    psc_attachment: Annotated[str, ATTACHMENT] | None = None
    encryption_key: Annotated[str, KEY] | None = None
    persistent_resource: Annotated[str, RESOURCE] | None = None
    timeout: Annotated[float, Field(gt=0, le=168, allow_inf_nan=False)] | None = None  # hours
    api_endpoint: Annotated[str, AfterValidator(_api_endpoint)] | None = None
    schedule: Annotated[str, AfterValidator(_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    # with spaces between them in a variable
    notify: Annotated[
        list[Annotated[str, AfterValidator(_address)]],
        NoDecode,
        BeforeValidator(lambda value: value.split() if isinstance(value, str) else value),
    ] = []
    poll_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 5.0
    runs_dir: Annotated[Path, AfterValidator(_folder)] = ROOT / "runs"

    def chosen_engine(self) -> tuple[str, str]:
        """Return the name of the engine and the reason for it."""
        if self.engine:
            return self.engine, "asked for"
        if self.project and self.bucket:
            return "vertex", f"project {self.project} and bucket {self.bucket} are set"
        return "local", "no project and bucket are set"

    @property
    def ip_ranges(self) -> list[str]:
        """The names of the ranges that the tasks take their addresses from."""
        return self.reserved_ip_ranges.split(",") if self.reserved_ip_ranges else []

    @property
    def name_of_persistent_resource(self) -> str:
        """The whole name of the persistent resource, "" for none."""
        place = f"projects/{self.project}/locations/{self.region}/persistentResources"
        return f"{place}/{self.persistent_resource}" if self.persistent_resource else ""

    @property
    def image_of_vertex(self) -> str:
        """The image that Vertex AI serves a model in, "" for none: it takes those of Artifact Registry only."""
        if self.serving_image == NO_IMAGE:
            return ""
        remote = f"{self.region}-docker.pkg.dev/{(self.project or '').replace(':', '/')}/docker-hub"
        return self.serving_image or f"{remote}/library/{BASE_IMAGE}"

    @property
    def address_of_vertex(self) -> str:
        """The address of Vertex AI in the region."""
        endpoint = self.api_endpoint or f"{self.region}-aiplatform.googleapis.com"
        return endpoint if "://" in endpoint else f"https://{endpoint}"

    def required(self, name: str) -> str:
        """Return a text among the settings that must be there.

        Raises:
            RequestError: it is not.
        """
        self.require(name)
        value: str = getattr(self, name)
        return value

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
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        settings, variables = _of_file(), env_settings
        environment = {**settings, **variables(), **init_settings()}.get("env")
        of_environment = _of_environment(settings.pop(ENVIRONMENTS, {}), environment)
        return init_settings, variables, InitSettingsSource(settings_cls, settings | of_environment)

    def told_environment(self) -> str:
        """Return the environment with what its table sets, and what of it a variable overrules."""
        table = _of_environment(_of_file().get(ENVIRONMENTS, {}), self.env)
        overruling = [f"{variable} overrules its {name}" for name in table if (variable := _variable(name))]
        return "; ".join([f"{self.env}, which sets {', '.join(table) or 'nothing'}", *overruling])


def _of_environment(tables: Any, name: Any) -> dict[str, Any]:
    """Return the table of an environment, {} where none is chosen; the keys of all of them are looked at.

    Raises:
        RequestError: there is no such environment, or what stands there is no table of settings.
    """
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise RequestError(
            f"{_place(ENVIRONMENTS)}: expected tables of settings, [tool.covertype.environments.NAME], "
            f"not {shortened(tables)}."
        )
    known = Settings.model_fields.keys() - {"env"}
    for environment, table in tables.items():
        if unknown := [key for key in table if key not in known]:
            nearest = ", ".join(difflib.get_close_matches(unknown[0][:80], sorted(known), n=3, cutoff=0))
            raise RequestError(
                f"[tool.covertype.environments.{printable(environment, 80)}] in pyproject.toml has "
                f"{shortened(unknown[0])}, which is no setting of an environment. Near it: {nearest}."
            )
    if name is None or (isinstance(name, str) and name in tables):
        return dict(tables.get(name, {}))
    there = ", ".join(printable(each, 80) for each in tables) or "none"
    raise RequestError(
        f"--env {shortened(name)}: there is no such environment. Those in pyproject.toml are: {there}.\n"
        "Write one as a table of settings: [tool.covertype.environments.NAME]"
    )


def _of_file() -> dict[str, Any]:
    """Return what stands under [tool.covertype] in pyproject.toml; nothing where there is no such file.

    Raises:
        RequestError: the file cannot be read, or something else stands there.
    """
    if not os.path.lexists(PYPROJECT):
        return {}
    try:
        table = tomllib.loads(files.text(PYPROJECT))
    except files.Damaged as error:
        raise RequestError(f"The settings in {PYPROJECT} cannot be read: {error}.") from None
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise RequestError(f"The settings in {PYPROJECT} cannot be read: {printable(str(error), 300)}.") from None
    except RecursionError:
        raise RequestError(f"The settings in {PYPROJECT} cannot be read: a list is nested too deeply.") from None
    for name in ("tool", "covertype"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise RequestError(
                f"{_place(name)}: expected a table of settings, [tool.covertype], not {name} = {shortened(table)}."
            )
    return table


def _place(name: str, environment: str | None = None) -> str:
    """Return the file and the line that has a setting, as far as it is seen; that of the environment before others."""
    lines = files.text(PYPROJECT).splitlines()
    named = re.compile(rf"""[^#]*?(?<![\w-])["']?{re.escape(name)}["']?\s*=""")
    of_environment = re.compile(rf"\s*\[\s*tool\.covertype\.{ENVIRONMENTS}\.{re.escape(environment or '')}\s*\]")
    begins = (place for place, line in enumerate(lines) if environment and of_environment.match(line))
    start = next(begins, len(lines))
    for place, line in enumerate(lines[start + 1 :], start + 1):
        if line.lstrip().startswith("["):
            break
        if named.match(line):
            return f"{PYPROJECT}, line {place + 1}"
    header = next((place for place, line in enumerate(lines) if re.match(r"\s*\[\s*tool\s*\.\s*covertype", line)), 0)
    found = next((place for place, line in enumerate(lines) if place >= header and named.match(line)), None)
    return f"{PYPROJECT}" if found is None else f"{PYPROJECT}, line {found + 1}"


def settle(**flags: Any) -> Settings:
    """Return the settings of a run; a flag that is None was not given.

    Raises:
        RequestError: a value is missing or wrong; all of them are in the one message.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        # of a setting that takes one type or nothing, each is tried
        problems = {str(problem["loc"][0]): _told(problem, given) for problem in error.errors(include_url=False)}
        listed = [*problems.values()]
        more = [f"and {len(listed) - 4} more."] if len(listed) > 5 else []
        raise RequestError("\n".join(listed[: 4 if more else 5] + more)) from None


def _told(problem: Any, given: dict[str, Any]) -> str:
    """Say what is wrong with a setting, and where it was given: by a flag, a variable or the file."""
    key = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        nearest = ", ".join(difflib.get_close_matches(key[:80], Settings.model_fields, n=3, cutoff=0))
        return (
            f"[tool.covertype] in pyproject.toml has {shortened(key)}, which is no setting. Near it: {nearest}. "
            "Each flag of run.py that takes a value is one."
        )
    name = re.sub("^(covertype|google_cloud)_", "", key.lower())
    environment = given.get("env") or os.environ.get("COVERTYPE_ENV")
    place = (
        "--" + name.replace("_", "-") if name in given else _variable(name) or f"{_place(name, environment)}: {name} ="
    )
    reason = printable(problem["msg"].removeprefix("Value error, "), 200)
    came = "" if key.lower().endswith("notify") else f" {shortened(problem['input'])}"  # it may be a secret
    return f"{place}{came}: {reason}."


def _variable(name: str) -> str | None:
    """Return the variable that gives a setting, None where none does."""
    names = [f"COVERTYPE_{name.upper()}"] + [f"GOOGLE_CLOUD_{name.upper()}"] * (name in ("project", "region"))
    return next((each for each in names if os.environ.get(each)), None)


def _missing(name: str) -> str:
    variable = f"GOOGLE_CLOUD_{name.upper()}" if name in ("project", "region") else f"COVERTYPE_{name.upper()}"
    return (
        f"--{name.replace('_', '-')} is missing: give the flag, set {variable}, "
        f"or write {name} under [tool.covertype] in pyproject.toml."
    )
