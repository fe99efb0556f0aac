"""Where tasks of a service find their image and their packages: a mirror, an index, wheels in the bucket."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from types import SimpleNamespace

import pytest
from kfp import dsl

from pipeline import ROOT, RequestError, compiler, graph, packages, serving, storage, wheelhouse
from pipeline.settings import settle
from pipeline.target import Target
from pipeline.tests.vertex_server import VertexServer
from steps.environment import BASE_IMAGE, pinned
from steps.promotion.folder import PACKAGES
from steps.weighted_vote import MODULES

VERTEX = ("--engine", "vertex", "--identifier", "trees", "--data", "sample:300")
MIRROR = "mirror.example/library/python:3.11-slim"


@dsl.component(base_image=BASE_IMAGE, packages_to_install=["small==1.0"])
def one() -> int:
    return 1


@dsl.component(base_image=BASE_IMAGE, packages_to_install=["other-one==2.5"])
def two(number: int) -> int:
    return number + 1


@dsl.component(base_image="own.example/python:3.12-slim", packages_to_install=["small==1.1"])
def elsewhere(number: int) -> int:
    return number


@dsl.pipeline(name="own")
def own():
    two(number=one().output)


@dsl.pipeline(name="three")
def three():
    first = one()
    first.set_env_variable("PIP_INDEX_URL", "https://own.example/simple")
    elsewhere(number=two(number=first.output).output)


def spec_of(pipeline, **target):
    return graph.parsed(compiler.compiled(pipeline, Target(engine="vertex", **target)))


def variables(spec):
    return {
        step: {each["name"]: each["value"] for each in container.get("env", ())}
        for step, container in graph.containers(spec).items()
    }


def last_spec(vertex):
    """Return the spec of the job that was submitted last."""
    bodies = [body for method, _, body in vertex.requests if method == "POST" and "pipelineSpec" in (body or {})]
    return bodies[-1]["pipelineSpec"]


# images and the index


def test_image_of_the_steps_is_that_of_the_setting_and_a_step_s_own_stays():
    images = {step: each["image"] for step, each in graph.containers(spec_of(three, base_image=MIRROR)).items()}
    assert images == {"one": MIRROR, "two": MIRROR, "elsewhere": "own.example/python:3.12-slim"}
    assert graph.containers(spec_of(own))["one"]["image"] == BASE_IMAGE == "python:3.11-slim"


def test_image_of_the_setting_is_checked_and_in_the_job(local_run, vertex, monkeypatch):
    checked = local_run(*VERTEX, "--base-image", MIRROR, "--check")
    assert checked.status == 0
    assert f"images: {MIRROR}\n" in checked.out
    assert local_run(*VERTEX, "--base-image", MIRROR, "--no-wait").status == 0
    executors = last_spec(vertex)["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {MIRROR}


def test_index_of_the_setting_is_pip_s_and_a_task_s_own_stays():
    spec = spec_of(three, index_url="https://packages.example/simple")
    assert variables(spec) == {
        "one": {"PIP_INDEX_URL": "https://own.example/simple"},
        "two": {"PIP_INDEX_URL": "https://packages.example/simple"},
        "elsewhere": {"PIP_INDEX_URL": "https://packages.example/simple"},
    }
    assert "--trusted-host" not in json.dumps(spec)
    assert variables(spec_of(own)) == {"one": {}, "two": {}}


def test_a_local_run_has_neither():
    target = Target(base_image=MIRROR, index_url="https://packages.example/simple", wheels="gs://trees/wheels")
    assert compiler.compiled(own, target) == compiler.compiled(own, Target())


# an index of a few wheels, and of this machine


def wheel(folder, name, version="1.0", needs=(), kind="whl"):
    """Write the wheel of an empty package into the index, or what is no wheel."""
    place, name = folder / "simple" / re.sub("[_.]", "-", name), re.sub("[-.]", "_", name)
    place.mkdir(parents=True, exist_ok=True)
    if kind != "whl":
        (place / f"{name}-{version}.tar.gz").write_bytes(b"")
    else:
        info = f"{name}-{version}.dist-info"
        metadata = "".join(f"Requires-Dist: {need}\n" for need in needs)
        with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
    names = sorted(file.name for file in place.iterdir() if file.suffix != ".html")
    links = "".join(f'<a href="{name}">{name}</a>\n' for name in names)
    (place / "index.html").write_text(f"<!DOCTYPE html><html><body>\n{links}</body></html>")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index; its folder, its address, and what has been asked of it."""
    folder, asked = tmp_path / "index", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, _, request, *rest):
            asked.append(request.split()[1])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    wheelhouse._pins.cache_clear()
    yield SimpleNamespace(folder=folder, url=f"http://127.0.0.1:{server.server_port}/simple", asked=asked)
    server.shutdown()
    server.server_close()


@pytest.fixture
def full(index):
    """An index with what the pipelines of here install."""
    wheel(index.folder, "small", needs=["needed>=2"])
    wheel(index.folder, "small", "1.1", needs=["needed<2"])
    for name, version in (("needed", "1.9"), ("needed", "2.1"), ("other_one", "2.5")):
        wheel(index.folder, name, version)
    name, _, version = pinned("kfp")[0].partition("==")
    wheel(index.folder, name, version, needs=["a-lot"])
    return index


OWN = f"{__file__}:own"
PROMOTING = f"{ROOT}/pipeline/tests/promoting.py:promoting"
KFP = f"kfp-{pinned('kfp')[0].partition('==')[2]}-py3-none-any.whl"


@pytest.fixture
def bucket(vertex, monkeypatch):
    """A bucket without wheels; returns the names of its objects."""
    client = storage.client("demo")

    def names():
        return sorted(blob.name for blob in client.list_blobs("trees", prefix="wheels/"))

    for name in names():
        client.bucket("trees").blob(name).delete()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return names


def test_wheels_are_collected_once_and_the_tasks_know_no_other_place(local_run, vertex, bucket, full):
    arguments = ("--engine", "vertex", "--identifier", "own", "--pipeline", OWN, "--packages", "bucket")
    arguments += ("--index-url", full.url)
    before = local_run(*arguments, "--check")
    assert before.status == 0
    assert "4 are to come to gs://trees/wheels/" in " ".join(before.out.replace("│", "").split())
    assert bucket() == []
    first = local_run(*arguments)
    assert first.status == 0, first.err
    assert re.search(
        r"Wheels 4 are collected for gs://trees/wheels/[0-9a-f]{16}\nWheels 4, 0\.0 MB, are uploaded", first.err
    )
    names = bucket()
    folder = names[0].rpartition("/")[0]
    assert [name.rpartition("/")[2] for name in names] == [
        KFP,
        "needed-2.1-py3-none-any.whl",
        "other_one-2.5-py3-none-any.whl",
        "small-1.0-py3-none-any.whl",
        "wheels.json",
    ]
    there = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/gcs/trees/{folder}"}
    assert variables(last_spec(vertex)) == {"one": there, "two": there}
    full.asked.clear()
    checked = local_run(*arguments[:-2], "--check")
    assert f"4, 0.0 MB, are in gs://trees/{folder}" in " ".join(checked.out.replace("│", "").split())
    assert local_run(*arguments[:-2], "--schedule", "0 6 * * 1").status == 0
    assert full.asked == []
    assert bucket() == names


def test_wheels_are_collected_again_where_one_is_missing(bucket, vertex, full):
    settings = settle(packages="bucket", index_url=full.url)
    spec, told = spec_of(own, wheels=packages.root(settings)), []
    wheelhouse.placed(settings, spec, told.append)
    names = bucket()
    storage.client("demo").bucket("trees").blob(names[1]).delete()
    wheelhouse.placed(settings, spec, told.append)
    assert bucket() == names
    storage.client("demo").bucket("trees").blob(names[-1]).upload_from_string("{")
    wheelhouse.placed(settings, spec, told.append)
    assert len([line for line in told if "are collected" in line]) == 3
    wheelhouse.placed(settings, spec, told.append)
    assert len([line for line in told if "are collected" in line]) == 3


def test_each_python_has_a_folder_of_its_own_which_follows_from_the_pins(full):
    spec = spec_of(three)
    one_of_3_11, one_of_3_12 = packages.wheels_of(spec, "gs://b/wheels")
    assert (one_of_3_11.steps, one_of_3_12.steps) == (("one", "two"), ("elsewhere",))
    pins = {pin for _, pin in wheelhouse._all_pins(one_of_3_12, full.url)}
    assert pins == {*pinned("kfp"), "needed==1.9", "small==1.1"}
    assert packages.wheels_of(spec, "gs://b/wheels") == [one_of_3_11, one_of_3_12]
    places = {each.place for each in packages.wheels_of(spec_of(own), "gs://b/wheels")}
    assert places == {one_of_3_11.place}  # of the same pins
    assert {each["PIP_FIND_LINKS"] for each in variables(spec_of(three, wheels="gs://b/wheels")).values()} == {
        each.place.replace("gs://", "/gcs/") for each in (one_of_3_11, one_of_3_12)
    }


def test_two_versions_of_a_package_are_collected_side_by_side(full, tmp_path):
    asked = (packages.Asked("3.11", ("small==1.0",)), packages.Asked("3.11", ("small==1.1",)))
    pins = wheelhouse._all_pins(packages.Wheels("gs://b/wheels/0", ("a", "b"), asked), full.url)
    (tmp_path / "wheels").mkdir()
    collected = wheelhouse._collected(tmp_path / "wheels", pins)
    assert [name.partition("-py3")[0] for name in collected] == ["needed-1.9", "needed-2.1", "small-1.0", "small-1.1"]


@pytest.mark.parametrize(
    "requirement", ["git+https://example.com/x@1", "x @ https://example.com/x.whl", "./x.whl", "x.tar.gz"]
)
def test_what_has_no_wheel_at_an_index_is_refused(requirement):
    step = dsl.component(base_image=BASE_IMAGE, packages_to_install=[requirement])(one.python_func)

    @dsl.pipeline(name="own")
    def of_it():
        step()

    message = f"--packages bucket: one installs {requirement}, which is no package of an index."
    with pytest.raises(RequestError, match=re.escape(message)):
        spec_of(of_it, wheels="gs://trees/wheels")


def test_package_that_is_source_only_is_refused_before_anything_is_sent(local_run, bucket, vertex, index):
    wheel(index.folder, "other_one", "2.5")
    wheel(index.folder, "small", kind="tar.gz")
    wheel(index.folder, *pinned("kfp")[0].split("=="))
    arguments = ("--engine", "vertex", "--identifier", "own", "--pipeline", OWN, "--packages", "bucket")
    refused = local_run(*arguments, "--index-url", index.url)
    assert refused.status == 2
    assert "the wheels of small==1.0 for Python 3.11 on Linux cannot be had. uv says:" in refused.err
    assert "small==1.0 has no usable wheels" in refused.err
    assert bucket() == []
    assert local_run(*arguments, "--index-url", index.url, "--check").status == 2


def test_image_that_names_no_python_is_refused():
    with pytest.raises(RequestError, match=r"which Python the image own\.example/steps:v2\.3\.11 of \w+ has"):
        spec_of(own, base_image="own.example/steps:v2.3.11", wheels="gs://trees/wheels")
    assert [packages._python("a", image) for image in ("python:3.11-slim", "h:5000/x/py:cuda-3.12@sha256:0a")] == [
        "3.11",
        "3.12",
    ]


def test_index_is_asked_for_a_package_of_the_steps_and_never_stops_a_run(full):
    asked = partial(wheelhouse.checks, spec=spec_of(own))
    (made,) = asked(settle(index_url=full.url.replace("127.0.0.1", "localhost")))
    assert made.state == "not checked"  # plain http
    assert full.asked == ["/simple/other-one/"]
    shutil.rmtree(full.folder / "simple" / "other-one")
    for url in (full.url, "http://127.0.0.1:9/simple"):
        (made,) = asked(settle(index_url=url))
        assert (made.name, made.state) == ("index", "not checked")
        assert "does not answer from here for other-one" in made.detail


def test_bucket_that_cannot_be_asked_stops_no_check(vertex, monkeypatch):
    settings = settle(packages="bucket", poll_seconds=0.01)
    monkeypatch.setattr(wheelhouse, "_whole", lambda _: (_ for _ in ()).throw(ConnectionError("refused")))
    (made,) = wheelhouse.checks(settings, spec_of(own))
    assert (made.name, made.state) == ("wheels", "not checked")
    assert made.detail.startswith("the bucket cannot be asked: ")


@pytest.mark.slow
def test_registered_model_has_its_wheels_from_the_bucket(local_run, bucket, vertex, index):
    pytest.importorskip("google_cloud_pipeline_components")
    server = (*serving.server_packages(), *pinned(*PACKAGES, *MODULES.values()))
    for requirement in {*server, *pinned("google-auth", "kfp", "requests")}:
        wheel(index.folder, *requirement.split("=="))
    arguments = ("--engine", "vertex", "--identifier", "junipers", "--pipeline", PROMOTING, "--register")
    done = local_run(*arguments, "--packages", "bucket", "--index-url", index.url)
    assert done.status == 0, done.err
    collected = {name.rpartition("/")[2] for name in bucket()}
    assert {"fastapi", "scikit-learn", "kfp"} <= {name.partition("-")[0].replace("_", "-") for name in collected}
    sent = [blob.name for blob in storage.find("gs://trees/junipers/") if "/package/wheels/" in blob.name]
    assert sorted(name.rpartition("/")[2] for name in sent) == sorted(
        f"{re.sub('[-.]', '_', requirement.split('==')[0])}-{requirement.split('==')[1]}-py3-none-any.whl"
        for requirement in (*serving.server_packages(), *pinned("joblib"))  # which the model's folder names
    )


@dsl.component(base_image=BASE_IMAGE, packages_to_install=["own @ git+https://example.com/own@1"])
def from_git() -> int:
    return 1


@dsl.pipeline(name="git")
def of_git():
    from_git()


def test_step_that_installs_from_git_needs_an_image_with_it():
    (made,) = wheelhouse.checks(settle(), spec_of(of_git))
    assert (made.state, made.detail.partition(". ")[0]) == (
        "failed",
        "from-git installs own @ git+https://example.com/own@1, and its image python:3.11-slim has no git",
    )
    (made,) = wheelhouse.checks(settle(), spec_of(of_git, base_image="mirror.example/library/python:3.11"))
    assert (made.state, made.detail) == ("passed", "from-git install from it")


@pytest.mark.slow
def test_every_install_line_of_a_step_asks_the_index_of_the_setting(full, tmp_path):
    container = graph.containers(spec_of(own, index_url=full.url))["one"]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    environment = {each["name"]: each["value"] for each in container["env"]}
    environment |= {"PATH": f"{tmp_path}/venv/bin:/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path)}
    subprocess.run([*container["command"][:-4], "true"], env=environment, check=True)
    asked = {path.split("/")[2] for path in full.asked if path.endswith("/")}
    assert asked - {"pip"} == {"kfp", "needed", "small"}  # pip looks whether it is the newest itself


def test_spec_for_elsewhere_is_told_of_no_wheels(local_run, vertex, tmp_path, monkeypatch):
    monkeypatch.setenv("COVERTYPE_PACKAGES", "bucket")
    assert local_run("--engine", "vertex", "--compile-only", str(tmp_path / "spec.yaml")).status == 0
    assert "PIP_NO_INDEX" not in (tmp_path / "spec.yaml").read_text()


# tasks without a network


def _can_cut_off():
    found = shutil.which("unshare")
    return found and subprocess.run([found, "-rn", "true"], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _can_cut_off(), reason="this system lets no process be without a network")
def test_run_ends_well_where_tasks_have_no_network(local_run, bucket, vertex, storage_emulator, tmp_path, monkeypatch):
    """Each task by its own install lines, in an environment of its own."""
    monkeypatch.delenv("PIP_CONFIG_FILE")
    with VertexServer(tmp_path, storage_emulator, installs=True) as server:
        monkeypatch.setenv("COVERTYPE_API_ENDPOINT", server.url)
        index = local_run(*VERTEX, "--fuse", "--identifier", "index", "--set", "max_iter=5")
        assert index.status == 1  # there is none
        done = local_run(*VERTEX, "--fuse", "--packages", "bucket", "--set", "max_iter=5")
    assert done.status == 0, done.err
    assert done.record["status"] == "succeeded"
