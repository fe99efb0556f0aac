"""Artifacts: written and read by path, imported, moved, optional, folders and links."""

from kfp import dsl
from kfp.dsl import Dataset, Model

from pipeline.tests.conformance.cases import case
from pipeline.tests.conformance.steps import (
    address,
    list_folder,
    pair,
    read,
    read_any,
    read_length,
    read_maybe,
    say,
    write,
    write_folder,
    write_model,
    write_path,
)


@case(ran={"write": ..., "read": "abc", "read-length": 3}, vertex=True)
@dsl.pipeline(name="artifact-with-metadata")
def with_metadata():
    file = write(text="abc").outputs["file"]
    read(file=file)
    read_length(file=file)


@case(ran={"write": ..., "pair": "a a"})
@dsl.pipeline(name="one-artifact-for-two-inputs")
def for_two_inputs():
    file = write(text="a").outputs["file"]
    pair(first=file, second=file)


@case(ran={"write-model": ..., "read-any": "m", "address": ...})
@dsl.pipeline(name="artifact-that-is-returned")
def returned():
    model = write_model(text="m").output
    read_any(file=model)
    address(data=model)


@case(ran={"write-folder": ..., "list-folder": "a,b"})
@dsl.pipeline(name="artifact-that-is-a-folder")
def folder():
    list_folder(folder=write_folder(names=["b", "a"]).outputs["folder"])


@case(ran={"write-path": ..., "read": "abc", "say": "3"}, stock=True)
@dsl.pipeline(name="outputs-by-their-paths")
def by_path():
    written = write_path(text="abc")
    read(file=written.outputs["file"])
    say(text=f"{written.outputs['length']}")


@case(ran={"importer": ..., "address": "Dataset gs://bucket/one [('rows', '3')]"})
@dsl.pipeline(name="importer-of-a-constant")
def importer():
    data = dsl.importer(artifact_uri="gs://bucket/one", artifact_class=Dataset, metadata={"rows": "3"})
    address(data=data.output)


@case(
    ran={"importer": ..., "address": "Model gs://bucket/two [('name', 'v 7')]"},
    parameters={"uri": "gs://bucket/two", "version": 7},
)
@dsl.pipeline(name="importer-of-a-parameter")
def importer_of_parameter(uri: str, version: int):
    data = dsl.importer(artifact_uri=uri, artifact_class=Model, metadata={"name": f"v {version}"})
    address(data=data.output)


@case(ran={"say": "gs://bucket/three", "importer": ..., "address": "Dataset gs://bucket/three []"})
@dsl.pipeline(name="importer-of-an-output")
def importer_of_output():
    address(data=dsl.importer(artifact_uri=say(text="gs://bucket/three").output, artifact_class=Dataset).output)


@case(ran={"importer": ...}, failed={"read": "No such file"})
@dsl.pipeline(name="importer-of-a-file-that-is-not-there")
def importer_of_nothing():
    read(file=dsl.importer(artifact_uri="/no/such/file", artifact_class=Dataset).output)


@case(ran={"read-maybe": "none"})
@dsl.pipeline(name="artifact-that-is-not-given")
def not_given():
    read_maybe()


@case(ran={"write": ..., "read-maybe": "a"})
@dsl.pipeline(name="optional-artifact-that-is-given")
def optional_given():
    read_maybe(file=write(text="a").outputs["file"])


@dsl.component(base_image="python:3.11")
def register(registered: dsl.Output[dsl.Artifact]):
    registered.uri = "gs://models/seven"
    registered.metadata["version"] = 7


@case(ran={"register": ..., "address": "Artifact gs://models/seven [('version', 7)]"}, vertex=True)
@dsl.pipeline(name="artifact-whose-address-the-step-sets")
def moved():
    address(data=register().outputs["registered"])
