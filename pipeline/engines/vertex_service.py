"""The connection to Vertex AI and its neighbours: the SDK, retries, and messages in place of their exceptions."""

import contextlib
import difflib
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials

from pipeline import RequestError
from pipeline.settings import Settings

# what may pass by itself: too many requests, a service that is busy, a connection that drops
PASSING = (
    api.TooManyRequests,
    api.ServerError,
    api.RetryError,
    requests.ConnectionError,
    requests.Timeout,
    auth.TransportError,
)
LOGIN = "gcloud auth application-default login"


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
            nearest = ", ".join(difflib.get_close_matches(self.settings.region, regions, n=3, cutoff=0))
            raise RequestError(
                f"--region {self.settings.region!r} is no region of Vertex AI. Near it: {nearest}."
            ) from None
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

    def retried(self, call: Callable[[], Any], attempts: int = 5) -> Any:
        """Make a call, again with growing pauses while what hinders it may pass."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PASSING),
            wait=tenacity.wait_exponential(multiplier=self.settings.poll_seconds / 5, max=60),
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )(call)

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what the service or the network refuse into a message with the way out."""
        try:
            yield
        except api.Conflict:
            raise RequestError(f"{what}: a job of this id exists. Run the command again for a new id.") from None
        except (api.Forbidden, api.Unauthorized) as error:
            raise RequestError(f"{what}: {first_line(error)}\n{forbidden(self.settings.project)}") from None
        except (auth.DefaultCredentialsError, auth.RefreshError):
            raise RequestError(f"{what}: there are no valid credentials. Log in: {LOGIN}") from None
        except PASSING as error:
            raise RequestError(f"{what}: the service does not answer: {first_line(error)}\nTry again later.") from None
        except api.GoogleAPICallError as error:
            raise RequestError(f"{what}: {first_line(error)}") from None


def forbidden(project: str) -> str:
    return (
        "Ask for the right to submit jobs: "
        f"gcloud projects add-iam-policy-binding {project} --member=user:YOU --role=roles/aiplatform.user"
    )


def first_line(error: BaseException) -> str:
    """Return the first line of what a service or the network said, short enough for one line."""
    response = getattr(error, "response", None)
    message = str(error)
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # over gRPC there is no response
        message = response.json()["error"]["message"]
    return (message.strip().splitlines() or [type(error).__name__])[0][:300]
