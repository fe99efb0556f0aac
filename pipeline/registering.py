"""A pipeline that registers what it has promoted with Vertex AI, and deploys it: --register and --deploy vertex.

It is the same pipeline with a gate behind promote_model:

    promote_model ─ promoted? ─ package_model ─ find the identifier's model ─ ModelUploadOp
                                └─ with --deploy vertex: find its endpoint, or EndpointCreateOp ─ ModelDeployOp
                                   ─ undeploy_former

google-cloud-pipeline-components is imported here only, and this module only where one of the two is asked for.
"""

import functools
import json
from dataclasses import dataclass
from typing import Any

from google_cloud_pipeline_components.types.artifact_types import VertexEndpoint, VertexModel
from google_cloud_pipeline_components.v1.endpoint import EndpointCreateOp, ModelDeployOp
from google_cloud_pipeline_components.v1.model import ModelUploadOp
from kfp import dsl
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.pipeline_channel import PipelineChannel
from kfp.dsl.pipeline_context import Pipeline
from kfp.dsl.pipeline_task import PipelineTask

from pipeline import profiles, runs, serving
from pipeline.compiler import PROMOTING
from pipeline.settings import Settings
from steps.find_resource import NONE, find_resource
from steps.package_model import package_model
from steps.undeploy_former import undeploy_former

# "default" is the version that is meant where none is named; a new version gets it only by asking for it
ALIASES = ["default", "champion"]
MADE_BY = {"made_by": "covertype-pipelines"}  # beside the identifier, tells our models from others of that label


@dataclass(frozen=True)
class Registration:
    """Where a promoted model is registered, and how."""

    identifier: str
    project: str
    region: str
    api: str  # address of Vertex AI in the region
    image: str  # that the server runs in; "" registers no container, and then no files either
    commit: str
    deploys: bool  # whether the version is deployed to the identifier's endpoint

    @classmethod
    def of(cls, settings: Settings, *, deploys: bool) -> "Registration":
        """Return the registration that the settings name, for the checkout as it is."""
        git = runs.git_state()
        commit = f"{git.commit or 'unknown'}{'-dirty' if git.dirty else ''}"
        identifier, project, region = (settings.required(name) for name in ("identifier", "project", "region"))
        api, image = settings.address_of_vertex, settings.image_of_vertex
        return cls(identifier, project, region, api, image, commit, deploys)

    @property
    def labels(self) -> dict[str, str]:
        """What the identifier's model and its endpoint are found by."""
        return MADE_BY | {"identifier": self.identifier}


def registering(pipeline: BaseComponent, registration: Registration, profile: str) -> BaseComponent:
    """Return a pipeline that registers the model that it has promoted.

    Args:
        pipeline: A pipeline with a task of PROMOTING; its name and its parameters stay.
        registration: Where to, and how.
        profile: Name of the profile that gives the endpoint its machine.
    """

    @functools.wraps(pipeline.pipeline_func)
    def with_registry(*arguments: Any, **parameters: Any) -> None:
        pipeline.pipeline_func(*arguments, **parameters)
        tasks = Pipeline.get_default_pipeline().tasks
        promoted = next(tasks[name] for name in tasks if name in PROMOTING)
        with dsl.If(promoted.outputs["Output"] == "promoted", name="promoted"):
            model = _register(promoted.outputs["model"], registration)
            if registration.deploys:
                _deploy(model, registration, profile)

    info = pipeline.pipeline_spec.pipeline_info
    return dsl.pipeline(name=info.name, display_name=info.display_name)(with_registry)


def _register(folder: PipelineChannel, registration: Registration) -> PipelineChannel:
    """Add the tasks that upload the model as a new version, and return the version."""
    package = package_model(
        model=folder,
        container=json.dumps(serving.container(registration.image)) if registration.image else "",
        packages=serving.server_packages(),
        labels=json.dumps(registration.labels | {"commit": registration.commit}),
    )
    # the service takes files only together with a container, and neither: then the place stands in the description
    served = {"unmanaged_container_model": package.outputs["package"]} if registration.image else {}
    upload = functools.partial(
        ModelUploadOp,
        **served,
        display_name=registration.identifier,
        description=package.outputs["description"],
        version_aliases=ALIASES,
        labels=package.outputs["labels"],
        project=registration.project,
        location=registration.region,
    )
    known = _found("models", registration)
    with dsl.If(known.outputs["Output"] == NONE, name="first-version"):
        first = upload()
    with dsl.Else(name="next-version"):
        following = upload(parent_model=_imported(known, VertexModel))
    _shown(package, "Package model")
    _shown(known, "Find registered model")
    _shown(first, "Register first version")
    _shown(following, "Register next version")
    return dsl.OneOf(first.outputs["model"], following.outputs["model"])


def _deploy(model: PipelineChannel, registration: Registration, profile: str) -> None:
    """Add the tasks that deploy a version to the identifier's endpoint, and all its traffic to it."""
    known = _found("endpoints", registration)
    with dsl.If(known.outputs["Output"] == NONE, name="first-endpoint"):
        made = EndpointCreateOp(
            display_name=registration.identifier,
            labels=registration.labels,
            project=registration.project,
            location=registration.region,
        )
    with dsl.Else(name="same-endpoint"):
        there = _imported(known, VertexEndpoint)
    endpoint = dsl.OneOf(made.outputs["endpoint"], there)
    deployed = ModelDeployOp(
        model=model,
        endpoint=endpoint,
        traffic_split={"0": "100"},  # 0 stands for the version that is being deployed
        dedicated_resources_machine_type=profiles.machine_type(profile),
        dedicated_resources_min_replica_count=1,
    )
    former = undeploy_former(api=registration.api, endpoint=endpoint, model=model).after(deployed)
    _shown(known, "Find endpoint")
    _shown(made, "Create endpoint")
    _shown(deployed, "Deploy model")
    _shown(former, "Undeploy former versions")


def _found(kind: str, registration: Registration) -> PipelineTask:
    """Add the task that finds the identifier's model or endpoint."""
    return find_resource(
        api=registration.api,
        parent=f"projects/{registration.project}/locations/{registration.region}",
        kind=kind,
        labels=registration.labels,
    )


def _imported(known: PipelineTask, kind: type[dsl.Artifact]) -> PipelineChannel:
    """Add the importer of what was found, as the ops take it; it needs no machine."""
    imported = dsl.importer(
        artifact_uri=known.outputs["uri"], artifact_class=kind, metadata={"resourceName": known.outputs["Output"]}
    )
    _shown(imported, "Take what was found")
    return imported.output


def _shown(task: PipelineTask, title: str) -> None:
    """Title a task, and let no cache answer in its place: what there is may have changed."""
    task.set_display_name(title)
    task.set_caching_options(False)
