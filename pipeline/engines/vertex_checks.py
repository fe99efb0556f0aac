"""The checks of a submission to Vertex AI that need credentials and a network; what mends a failed one is a command."""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from pipeline import RequestError, graph, loops, quota, storage
from pipeline.check import Check, Failed, NotChecked, make
from pipeline.engines.vertex_service import LOGIN, Service, act_as, first_line, forbidden, quota_project
from pipeline.settings import Settings

if TYPE_CHECKING:
    from steps.tables.schema import Schema

# of Artifact Registry: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/NAME, a project of a domain being DOMAIN/ID
IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/((?:[a-z][\w-]*\.[\w.-]+/)?[^/]+)/([^/]+)/.+")
# https://cloud.google.com/storage/docs/locations: what lies in several regions, by how these begin or what they are
MULTI_REGIONS = {"us": "us-", "eu": "europe-", "asia": "asia-"}
DUAL_REGIONS = {
    "asia1": ("asia-northeast1", "asia-northeast2"),
    "eur4": ("europe-north1", "europe-west4"),
    "eur5": ("europe-west1", "europe-west2"),
    "eur7": ("europe-west2", "europe-west3"),
    "eur8": ("europe-west3", "europe-west6"),
    "nam4": ("us-central1", "us-east1"),
}
CPUS = "aiplatform.googleapis.com/custom_model_training_cpus"  # of N1 and E2


def online(
    service: Service, spec: dict[str, Any], parameters: dict[str, Any], schema: "Schema | None" = None
) -> list[Check]:
    """Check that there are credentials that work, and with them the API, the bucket, and what else the job asks for.

    Args:
        service: The service.
        spec: The compiled spec; one that registers a model takes the registry and the image that it is served in, too.
        parameters: Values of its parameters.
        schema: What was seen of the table; None where it was not read.
    """
    made = make("credentials", lambda: _told(credentials, service))
    checks = {"api": api_is_on, f"bucket {service.settings.bucket}": bucket, "service account": service_account}
    checks |= {"quota": lambda service: cpus(service, spec, parameters, schema)} | places(service.settings)
    if graph.registers(spec):
        checks |= {"registry": registry, "serving image": serving_image}
    if made.state == "failed":
        return [made, *(Check(name, "not checked", "it takes credentials that work") for name in checks)]
    return [made, *(make(name, partial(_told, check, service)) for name, check in checks.items())]


def of_data(uri: str, account: str | None) -> list[Check]:
    """Say what the tasks' account needs for the data, where that cannot be asked for."""
    if not uri.startswith("bq://"):
        return []
    needed = (
        f"serviceAccount:{account or 'ACCOUNT'} needs roles/bigquery.dataViewer on the table and, for the fast way to "
        "read it, roles/bigquery.readSessionUser in its project"
    )
    return [Check("data for the tasks", "not checked", needed)]


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
        raise Failed(quota_project(error, project) or forbidden(project)) from None
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
        location, regions = service.retried(
            "look at the bucket",
            lambda: storage.client(project).get_bucket(name, retry=None),
            read=lambda bucket: ((bucket.location or "").lower(), bucket.data_locations or ()),
        )
    except api.NotFound:
        raise Failed(f"it does not exist. Make it: {create}") from None
    except api.Forbidden as error:
        if told := quota_project(error, project):
            raise NotChecked(told) from None
        grant = f"gcloud storage buckets add-iam-policy-binding gs://{name} --member=user:YOU --role="
        raise Failed(f"you may not read it. Ask for: {grant}roles/storage.legacyBucketReader") from None
    if service.is_local:
        return "exists, at an emulator"
    regions = tuple(map(str.lower, regions)) or DUAL_REGIONS.get(location, ())
    within = MULTI_REGIONS.get(location, "-")
    has = region in regions if regions else region == location or str(region).startswith(within)
    if not has:
        where = f"{location}, which is {' and '.join(regions)}" if regions else location
        raise Failed(f"it lies in {where}, the job would run in {region}. Use another, or make one: {create}")
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
            lambda: _granted(service.session.post(url, json={"permissions": [permission]}, timeout=30)),
            read=lambda reply: permission in reply.json().get("permissions", []),
        )
    except Exception as error:
        if _status(error) == 404:
            raise Failed(f"there is no {account}. List: gcloud iam service-accounts list") from None
        raise NotChecked(f"IAM cannot be asked: {_refused(error, service.settings.project, 'iam')}") from None
    if may_be_used:
        return f"{account} may be used"
    raise Failed(f"you may not use {account}. {act_as(account)}")


def cpus(service: Service, spec: dict[str, Any], parameters: dict[str, Any], schema: "Schema | None") -> str:
    """Check that the project's quota of CPUs is enough for the tasks that run side by side.

    Args:
        service: The service.
        spec: The compiled spec.
        parameters: Values of its parameters.
        schema: What was seen of the table; None where it was not read.
    """
    project, region = service.settings.project, service.settings.region
    if service.settings.persistent_resource:
        raise NotChecked("the tasks run on the machines of the persistent resource")
    found = loops.found_before(spec, parameters, schema)
    need = quota.at_once(spec, found, parameters=parameters)
    needed = f"the tasks need {need.least} CPUs at once"
    if need.most > need.least:
        needed += f", up to {need.most} if the service takes e2-standard-4 for 2 CPUs"
    if need.loops:
        needed += f", with one iteration of {' and of '.join(need.loops)}; how many there are is not known before"
    see = f"https://console.cloud.google.com/iam-admin/quotas?project={project} (custom_model_training_cpus, {region})"
    base = service.settings.api_endpoint if service.is_local else "https://serviceusage.googleapis.com"
    metric = f"services/aiplatform.googleapis.com/consumerQuotaMetrics/{quote(CPUS, safe='')}"
    try:
        limit = service.retried(
            "look at the quota",
            lambda: _granted(service.session.get(f"{base}/v1beta1/projects/{project}/{metric}?view=FULL", timeout=30)),
            read=lambda reply: _limit(reply.json(), region),
            attempts=2,  # what it would have told is not needed to go on
        )
    except Exception as error:
        reason = _refused(error, project, "serviceusage")
        raise NotChecked(f"{needed}. The quota cannot be read: {reason}\nSee it at {see}") from None
    if limit is None:
        raise NotChecked(f"{needed}. The service names no quota for {region}. See {see}")
    if need.least > limit:
        fitting = [n for n in range(1, 101) if quota.at_once(spec, found, n, parameters).most <= limit]
        fewer = f"Give --parallelism {fitting[-1]}, or a smaller --profile, or a" if fitting else "A"
        raise Failed(f"{needed}, and the quota in {region} is {limit}. {fewer}sk for more: {see}")
    if need.most > limit or need.loops:
        raise NotChecked(f"{needed}. The quota in {region} is {limit}")
    return f"{needed}; the quota in {region} is {'unlimited' if limit == math.inf else limit}"


def _limit(metric: dict[str, Any], region: str | None) -> float | None:
    """Return the limit of a metric in a region, None where it has none; see ConsumerQuotaMetric of Service Usage."""
    limits = [limit for limit in metric.get("consumerQuotaLimits", []) if "{region}" in limit["unit"]]
    buckets = [bucket for limit in limits for bucket in limit.get("quotaBuckets", [])]
    of_region = [bucket for bucket in buckets if bucket.get("dimensions", {}).get("region") == region]
    of_all = [bucket for bucket in buckets if not bucket.get("dimensions")]
    found = [int(bucket.get("effectiveLimit", 0)) for bucket in of_region or of_all]
    return min((math.inf if limit < 0 else limit for limit in found), default=None)  # -1 is without a limit


def places(settings: Settings) -> dict[str, Callable[[Service], str]]:
    """Return the checks of where the tasks run, of those that are set."""
    checks = {
        "network": (settings.network or settings.reserved_ip_ranges, network),
        "psc attachment": (settings.psc_attachment, attachment),
        "encryption key": (settings.encryption_key, key),
        "persistent resource": (settings.persistent_resource, persistent_resource),
    }
    return {name: check for name, (is_set, check) in checks.items() if is_set}


def network(service: Service) -> str:
    settings = service.settings
    if not settings.network:
        raise Failed("--reserved-ip-ranges are those of a network. Give --network, too, or leave them out.")
    if settings.psc_attachment:
        raise Failed("--network and --psc-attachment exclude each other. Give one of them.")
    project = settings.network.split("/")[1]
    if not project.isdecimal():
        find = f"gcloud projects describe {project} --format='value(projectNumber)'"
        raise Failed(f"the service takes the number of the network's project, not {project}. Find it: {find}")
    raise NotChecked(
        f"{settings.network} must have private services access, and a way to the package index and to Google's "
        "services. Look: gcloud services vpc-peerings list --network=NAME"
    )


def attachment(service: Service) -> str:
    _, project, _, region, _, name = service.settings.required("psc_attachment").split("/")
    _same_region(region, service.settings.region, "the attachment")
    look = f"gcloud compute network-attachments describe {name} --region={region} --project={project}"
    raise NotChecked(f"it must let the project's service agent of Vertex AI in. Look: {look}")


def key(service: Service) -> str:
    _, project, _, region, _, ring, _, name = service.settings.required("encryption_key").split("/")
    _same_region(region, service.settings.region, "the key")
    grant = (
        f"gcloud kms keys add-iam-policy-binding {name} --keyring={ring} --location={region} --project={project} "
        "--member=serviceAccount:service-NUMBER@gcp-sa-aiplatform.iam.gserviceaccount.com "
        "--role=roles/cloudkms.cryptoKeyEncrypterDecrypter"
    )
    raise NotChecked(f"the service agent of Vertex AI needs the right to use it: {grant}")


def persistent_resource(service: Service) -> str:
    settings, name = service.settings, service.settings.name_of_persistent_resource
    try:
        found = service.retried(
            "look at the persistent resource",
            lambda: _granted(service.session.get(f"{settings.address_of_vertex}/v1/{name}", timeout=30)),
            read=lambda reply: reply.json(),
        )
    except Exception as error:
        if _status(error) == 404:
            place = f"--region={settings.region} --project={settings.project}"
            raise Failed(
                f"there is no {settings.persistent_resource} in {settings.region}. List: gcloud ai "
                f"persistent-resources list {place}"
            ) from None
        raise NotChecked(f"it cannot be looked at: {_refused(error, settings.project, 'aiplatform')}") from None
    if found.get("state") != "RUNNING":
        raise Failed(f"it is in state {found.get('state', 'unknown')}, not RUNNING. Wait, or name another.")
    for flag, has, asked in (
        ("--network", found.get("network"), settings.network),
        ("--encryption-key", found.get("encryptionSpec", {}).get("kmsKeyName"), settings.encryption_key),
    ):
        if (has or None) != asked:
            raise Failed(f"it has {has or 'none'} for {flag}, the job {asked or 'none'}: the service refuses that.")
    return f"{settings.persistent_resource} is running"


def _same_region(region: str, of_job: str | None, what: str) -> None:
    if region != of_job:
        raise Failed(f"{what} is in {region}, the job would run in {of_job}. Name one there, or give --region.")


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
    service.retried(what, lambda: _granted(service.session.get(url, timeout=30)))


def _granted(reply: requests.Response) -> requests.Response:
    """Return the answer of a service.

    Raises:
        HTTPError: it says no.
    """
    reply.raise_for_status()
    return reply


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, requests.HTTPError) else None


def _refused(error: Exception, project: str | None, api_name: str) -> str:
    """Say why a service did not answer a question, and what lets it where that is known."""
    line = first_line(error)
    if told := quota_project(error, project):
        return told
    if "SERVICE_DISABLED" in getattr(getattr(error, "response", None), "text", "") or "has not been used" in line:
        command = f"gcloud services enable {api_name}.googleapis.com --project={project}"
        return f"{api_name}.googleapis.com is off. Turn it on: {command}"
    return line
