"""The checks of a submission to Vertex AI that need credentials and a network; what mends a failed one is a command."""

import re
from collections.abc import Callable

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from pipeline import RequestError, storage
from pipeline.check import Check, Failed, NotChecked, make
from pipeline.engines.vertex_service import LOGIN, PASSING, Service, first_line, forbidden

# of Artifact Registry: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/NAME, a project of a domain being DOMAIN/ID
IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/((?:[a-z][\w-]*\.[\w.-]+/)?[^/]+)/([^/]+)/.+")


def online(service: Service, *, registers: bool = False) -> list[Check]:
    """Check that there are credentials that work, and with them the API, the bucket and the service account.

    Args:
        service: The service.
        registers: Whether a model is registered, which takes the registry and the image that it is served in, too.
    """
    made = make("credentials", lambda: _told(credentials, service))
    checks = {"api": api_is_on, f"bucket {service.settings.bucket}": bucket, "service account": service_account}
    if registers:
        checks |= {"registry": registry, "serving image": serving_image}
    if made.state == "failed":
        return [made, *(Check(name, "not checked", "it takes credentials that work") for name in checks)]
    return [made, *(make(name, lambda check=check: _told(check, service)) for name, check in checks.items())]


def _told(check: Callable[[Service], str], service: Service) -> str:
    try:
        return check(service)
    except (Failed, NotChecked, RequestError):
        raise
    except Exception as error:
        raise Failed(service.explained(error)) from None


def credentials(service: Service) -> str:
    if service.is_local:
        raise NotChecked(f"{service.settings.api_endpoint} is on this machine and asked without credentials")
    import google.auth
    import google.auth.transport.requests

    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        request = google.auth.transport.requests.Request()
        service.retried("try the credentials", lambda: credentials.refresh(request))
    except auth.DefaultCredentialsError:
        raise Failed(f"there are none. Log in: {LOGIN}") from None
    except auth.RefreshError:
        raise Failed(f"they are expired or revoked. Log in again: {LOGIN}") from None
    except auth.TransportError as error:
        raise Failed(f"Google cannot be reached to try them: {first_line(error)}. Check the network.") from None
    return getattr(credentials, "service_account_email", None) or "found"


def api_is_on(service: Service) -> str:
    project, region, jobs = service.settings.project, service.settings.region, service.jobs
    try:
        service.retried(
            "list jobs", lambda: jobs.list_pipeline_jobs(request={"parent": service.parent, "page_size": 1})
        )
    except api.Forbidden as error:
        if "SERVICE_DISABLED" in str(error) or "has not been used" in str(error):
            command = f"gcloud services enable aiplatform.googleapis.com --project={project}"
            raise Failed(f"Vertex AI is off in project {project}. Turn it on: {command}") from None
        raise Failed(forbidden(project)) from None
    except api.NotFound:
        raise Failed(f"there is no project {project!r} with region {region!r}. List: gcloud projects list") from None
    except api.BadRequest as error:
        raise Failed(f"project {project!r} or region {region!r} is wrong: {first_line(error)}") from None
    return f"project {project}, region {region}"


def bucket(service: Service) -> str:
    name, region, project = service.settings.bucket, service.settings.region, service.settings.project
    create = (
        f"gcloud storage buckets create gs://{name} --location={region} --uniform-bucket-level-access "
        f"--project={project}"
    )
    try:
        location = service.retried(
            "look at the bucket",
            lambda: storage.client(project).get_bucket(name, retry=None),
            read=lambda bucket: (bucket.location or "").lower(),
        )
    except api.NotFound:
        raise Failed(f"it does not exist. Make it: {create}") from None
    except api.Forbidden:
        grant = f"gcloud storage buckets add-iam-policy-binding gs://{name} --member=user:YOU --role="
        raise Failed(f"you may not read it. Ask for: {grant}roles/storage.legacyBucketReader") from None
    if service.is_local:
        return "exists, at an emulator"
    if location != region and not region.startswith({"eu": "europe"}.get(location, location) + "-"):
        raise Failed(f"it lies in {location}, the job would run in {region}. Use another, or make one: {create}")
    return f"exists, in {location}"


def service_account(service: Service) -> str:
    account = service.settings.service_account
    if not account:
        raise NotChecked("none is named: the project's default Compute Engine account will be used")
    if service.is_local:
        raise NotChecked("there is no IAM on this machine")
    url = f"https://iam.googleapis.com/v1/projects/-/serviceAccounts/{account}:testIamPermissions"
    permission = "iam.serviceAccounts.actAs"
    try:
        may_be_used = service.retried(
            "ask IAM for rights",
            lambda: service.session.post(url, json={"permissions": [permission]}, timeout=30),
            read=lambda reply: permission in _permissions(reply),
        )
    except Exception as error:
        raise NotChecked(f"IAM cannot be asked: {first_line(error)}") from None
    if may_be_used:
        return f"{account} may be used"
    grant = f"gcloud iam service-accounts add-iam-policy-binding {account} --member=user:YOU"
    raise Failed(f"you may not use {account}. Ask for: {grant} --role=roles/iam.serviceAccountUser")


def registry(service: Service) -> str:
    """Check that models can be listed; whether the tasks' account may upload one cannot be asked."""
    _get(service, f"{service.settings.address_of_vertex}/v1/{service.parent}/models?pageSize=1", "list models")
    return "it answers; the tasks' account needs roles/aiplatform.user, as for the job"


def serving_image(service: Service) -> str:
    image = service.settings.image_of_vertex
    if not image:
        return "none: what is registered has no container, and is not to be deployed"
    place = IMAGE.fullmatch(image)
    if not place:
        raise Failed(
            f"Vertex AI takes images of Artifact Registry only, not {image}. Name one there: serving_image under "
            "[tool.covertype] in pyproject.toml, or COVERTYPE_SERVING_IMAGE."
        )
    location, project, repository = place[1], place[2].replace("/", ":"), place[3]
    base = service.settings.api_endpoint if service.is_local else "https://artifactregistry.googleapis.com"
    url = f"{base}/v1/projects/{project}/locations/{location}/repositories/{repository}"
    try:
        _get(service, url, "look at the repository of the image")
    except requests.HTTPError as error:
        status = error.response.status_code
        if status == 404 and not service.settings.serving_image:
            create = f"gcloud artifacts repositories create {repository} --location={location} --project={project}"
            raise Failed(
                f"there is no repository {repository}, which fetches it from Docker Hub. Make it: {create} "
                "--repository-format=docker --mode=remote-repository --remote-docker-repo=docker-hub"
            ) from None
        if status == 404:
            raise Failed(f"there is no repository {repository} in {location} of {project} for {image}") from None
        if "SERVICE_DISABLED" in error.response.text:
            command = f"gcloud services enable artifactregistry.googleapis.com --project={project}"
            raise Failed(f"Artifact Registry is off. Turn it on: {command}") from None
        raise NotChecked(f"{image}: its repository cannot be looked at: {first_line(error)}") from None
    return f"{image}; its repository is there"


def _get(service: Service, url: str, what: str) -> None:
    """Ask for what a service has.

    Raises:
        HTTPError: it says no.
    """
    service.retried(what, lambda: service.session.get(url, timeout=30).raise_for_status())


def _permissions(reply: requests.Response) -> list[str]:
    if not reply.ok and reply.status_code in PASSING:
        reply.raise_for_status()
    return reply.json().get("permissions", []) if reply.ok else []
