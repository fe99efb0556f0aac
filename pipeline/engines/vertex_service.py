"""The connection to Vertex AI and its neighbours: the SDK, time limits, retries, and exceptions told."""

import contextlib
import difflib
import logging
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import cached_property
from typing import Any, NoReturn, TypeVar, overload
from urllib.parse import urlsplit

import requests
import tenacity
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials

from pipeline import RequestError, console
from pipeline.settings import Settings

LOGIN = "gcloud auth application-default login"
SET_QUOTA_PROJECT = "gcloud auth application-default set-quota-project"
CONSUMER = "roles/serviceusage.serviceUsageConsumer"
PASSING = {408, 429, 500, 502, 503, 504}  # statuses that may pass by themselves: too many requests, a busy service
TIME_LIMIT = 30.0  # of one call, in seconds; uploads have those of their parts
PATIENCE = 5.0  # seconds without an answer, or of trying again, before the user is told
Answer = TypeVar("Answer")
T = TypeVar("T")


class Unreadable(Exception):
    """An answer that came cannot be understood, as that of a proxy, or half of one; the message says how."""


class Service:
    """Vertex AI in the project and region of the settings."""

    def __init__(self, settings: Settings):
        self.settings = settings
        # settings allow plain http for this machine's addresses only
        self.is_local = urlsplit(settings.api_endpoint or "").scheme == "http"

    @cached_property
    def sdk(self) -> Any:
        """The SDK, pointed to the project and region; importing it takes some seconds."""
        from google.cloud import aiplatform

        local = {"credentials": AnonymousCredentials(), "api_transport": "rest"} if self.is_local else {}
        try:
            aiplatform.init(
                project=self.settings.project,
                location=self.settings.region,
                staging_bucket=f"gs://{self.settings.bucket}",
                api_endpoint=self.settings.api_endpoint,
                **local,
            )
        except ValueError:
            regions = sorted(aiplatform.constants.base.SUPPORTED_REGIONS)
            nearest = ", ".join(difflib.get_close_matches(str(self.settings.region), regions, n=3, cutoff=0))
            raise RequestError(
                f"--region {self.settings.region!r} is no region of Vertex AI. Near it: {nearest}."
            ) from None
        # a state that is newer than the SDK is told here
        warnings.filterwarnings("ignore", "Unrecognized .* enum value", UserWarning)
        for module in ("base", "pipeline_jobs", "pipeline_job_schedules"):  # they print what is told here
            logging.getLogger(f"google.cloud.aiplatform.{module}").setLevel(logging.WARNING)
        return aiplatform

    @cached_property
    def jobs(self) -> Any:
        """The SDK's client of pipeline jobs."""
        from google.cloud.aiplatform import initializer, utils

        assert self.sdk  # it settles where the client goes
        return initializer.global_config.create_client(client_class=utils.PipelineJobClientWithOverride)

    @property
    def session(self) -> requests.Session:
        """A session for the services that the SDK does not speak to."""
        if self.is_local:
            return requests.Session()
        import google.auth
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])

    @property
    def parent(self) -> str:
        """The whole name of the place that jobs are in."""
        return f"projects/{self.settings.project}/locations/{self.settings.region}"

    @overload
    def retried(
        self,
        what: str,
        call: Callable[[], T],
        *,
        attempts: int = ...,
        limit: float | None = ...,
        failed: Callable[[Exception], None] = ...,
    ) -> T: ...

    @overload
    def retried(
        self,
        what: str,
        call: Callable[[], Answer],
        *,
        read: Callable[[Answer], T],
        attempts: int = ...,
        limit: float | None = ...,
        failed: Callable[[Exception], None] = ...,
    ) -> T: ...

    def retried(
        self,
        what: str,
        call: Callable[[], Any],
        *,
        read: Callable[[Any], Any] = lambda answer: answer,
        attempts: int = 5,
        limit: float | None = None,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> Any:
        """Make a call, again with growing pauses while what hinders it may pass; the user is told what takes long.

        Args:
            what: What the call does, in words.
            call: Makes it, in a thread of its own.
            read: Takes in the answer and returns what is to be returned. What it cannot understand is asked for again.
            attempts: How often to try.
            limit: Seconds that one try may take; by default TIME_LIMIT.
            failed: Is told of each try that did not come through.

        Raises:
            Exception: the last one, where it may pass; the first one that says no.
        """

        def attempt() -> Any:
            try:
                return _understood(read, _limited(what, call, TIME_LIMIT if limit is None else limit))
            except Exception as error:
                failed(error)
                raise

        def tell(state: tenacity.RetryCallState) -> None:
            pause, error = state.upcoming_sleep, state.outcome.exception() if state.outcome else None
            if error and time.monotonic() - begun + pause > PATIENCE:
                reason = first_line(error)
                console.show(f"Again in {pause:.0f} s, try {state.attempt_number + 1} of {attempts}: {what}: {reason}")

        begun = time.monotonic()
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_pass),
            wait=tenacity.wait_exponential(
                multiplier=self.settings.poll_seconds / 5, max=12 * self.settings.poll_seconds
            ),
            stop=tenacity.stop_after_attempt(attempts),
            before_sleep=tell,
            reraise=True,
        )(attempt)

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what the service or the network refuse into a message with the way out.

        Raises:
            RequestError: a call was refused, not answered, or answered with what cannot be understood.
        """
        try:
            yield
        except Exception as error:
            self.refuse(what, error)

    def refuse(self, what: str, error: Exception) -> NoReturn:
        """Raise what the service or the network said as a RequestError; errors of this machine's own stay as they are.

        Raises:
            RequestError: in place of one of the service's.
        """
        if is_own(error):
            raise error
        raise RequestError(f"{what}: {self.explained(error)}") from None

    def explained(self, error: Exception) -> str:
        """Return what the service or the network said, and in a second line the way out where one is known."""
        line, status = first_line(error), _status(error)
        if isinstance(error, auth.DefaultCredentialsError | auth.RefreshError):
            return f"there are no valid credentials. Log in: {LOGIN}"
        if status == 401:
            return f"{line}\nLog in: {LOGIN}"
        if told := quota_project(error, self.settings.project):
            return f"{line}\n{told[0].upper()}{told[1:]}"
        if "permission to act as service" in line:  # which comes as a 400
            named = re.search(r"[\w.-]+@[\w.-]+\w", line)
            return f"{line}\n{act_as(named[0] if named else self.settings.service_account or 'ACCOUNT')}"
        if status == 403:
            return f"{line}\n{forbidden(self.settings.project)}\nOr log in as someone else: {LOGIN}"
        if may_pass(error) and not _is_unreadable(error):
            return f"the service does not answer: {line}\nTry again later."
        if _is_unreadable(error):
            return f"the answer cannot be read: {line}\nIs there a proxy or a login page in between? Try again later."
        return line


def may_pass(error: BaseException) -> bool:
    """Return whether what hindered a call may pass by itself; what cannot be understood may be a proxy's."""
    if is_own(error):
        return False
    if isinstance(error, auth.GoogleAuthError):
        return isinstance(error, auth.TransportError)
    if isinstance(error, api.Aborted):
        return True
    status = _status(error)
    return status is None or status in PASSING


def may_have_arrived(error: BaseException) -> bool:
    """Return whether the service may have done what a call asked, though it failed."""
    if isinstance(error, auth.GoogleAuthError) or is_own(error):
        return False
    if isinstance(error, requests.ConnectionError):
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        unsent = isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError)
        return not unsent and type(reason).__name__ not in ("NewConnectionError", "NameResolutionError")
    status = _status(error)
    return status is None or status >= 500 or status in PASSING or not _says_so(error)


def is_own(error: BaseException) -> bool:
    """Return whether an error is this machine's own, as a file that is gone, or has been told already."""
    if isinstance(error, OSError):
        return not isinstance(error, requests.RequestException) and not _is_of_network(error)
    return isinstance(error, RequestError) or not isinstance(error, Exception)


def _is_of_network(error: BaseException) -> bool:
    network = (requests.RequestException, ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror)
    return isinstance(error, (*network, auth.GoogleAuthError)) and not isinstance(error, requests.JSONDecodeError)


def _is_unreadable(error: BaseException) -> bool:
    return _status(error) is None and not isinstance(error, api.GoogleAPIError) and not _is_of_network(error)


def _status(error: BaseException) -> int | None:
    """Return the status of an answer, over gRPC the one of HTTP that it stands for."""
    status = getattr(error, "code", None)
    if not isinstance(status, int):
        status = getattr(getattr(error, "response", None), "status_code", None)
    return int(status) if isinstance(status, int) else None


def _says_so(error: BaseException) -> bool:
    """Return whether an error is the service's own, not the page of something in between."""
    response = getattr(error, "response", None)
    if response is None:  # over gRPC
        return True
    try:
        return "message" in response.json()["error"]
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _limited(what: str, call: Callable[[], T], limit: float) -> T:
    """Make a call in a thread, so that it ends in time whatever it waits for, and is not waited for in silence."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    waited, pause = 0.0, PATIENCE
    while True:
        begun = time.monotonic()
        try:
            return future.result(min(pause, limit - waited))
        except TimeoutError:
            if future.done():  # just now, or the call's own
                return future.result()
        waited += time.monotonic() - begun
        if waited >= limit:
            raise TimeoutError(f"no answer within {limit:.0f} s")
        console.show(f"No answer for {waited:.0f} s: {what}. Waiting.")
        pause *= 2


def _understood(read: Callable[[Answer], T], answer: Answer) -> T:
    try:
        return read(answer)
    except Exception as error:
        if is_own(error) or isinstance(error, Unreadable | api.GoogleAPICallError | auth.GoogleAuthError):
            raise
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def state_of(of: Any) -> str:
    """Return the name of the state of a job or a task; of one that the SDK does not know its number."""
    return getattr(of.state, "name", f"state {of.state}")


def named(name: str) -> str:
    """Return the name that the service gave what it created or found."""
    if not name:
        raise Unreadable("it names nothing")
    return name


def label(value: str) -> str:
    """Return a text as the value of a label may have it."""
    return re.sub(r"[^a-z0-9_-]", "_", value.lower())[:63]


def forbidden(project: str | None) -> str:
    return (
        "Ask for the right to submit jobs: "
        f"gcloud projects add-iam-policy-binding {project} --member=user:YOU --role=roles/aiplatform.user"
    )


def act_as(account: str) -> str:
    """Return what to ask for where an account may not be used."""
    grant = f"gcloud iam service-accounts add-iam-policy-binding {account} --member=user:YOU"
    return f"Ask for the right to use it: {grant} --role=roles/iam.serviceAccountUser"


def quota_project(error: BaseException, project: str | None) -> str:
    """Return what to do where a user's own login names no project that pays for its calls, or one that is not theirs.

    "" for every other error.
    """
    response = getattr(error, "response", None)
    text = f"{error} {getattr(response, 'text', '')} {getattr(error, 'details', '')}"
    if "USER_PROJECT_DENIED" in text or "serviceUsageConsumer" in text:
        grant = f"gcloud projects add-iam-policy-binding {project} --member=user:YOU"
        return f"you may not use project {project} for calls. Ask for: {grant} --role={CONSUMER}"
    if "quota project" in text:
        return f"your login names no quota project. Set it: {SET_QUOTA_PROJECT} {project}"
    return ""


def first_line(error: BaseException) -> str:
    """Return the first line of what a service or the network said, short enough for one line."""
    response: Any = getattr(error, "response", None)
    message = str(error)
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):  # over gRPC there is no response
        message = response.json()["error"]["message"]
    if "<html" in str(message)[:1000].lower() or "<!doctype" in str(message)[:1000].lower():
        status = _status(error)
        return "a page of HTML came" + (f" with the status {status}" if status else "")
    return (str(message).strip().splitlines() or [type(error).__name__])[0][:300]
