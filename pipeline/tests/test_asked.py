"""What a pipeline asks of its tasks stands: machines, retries, and where packages come from."""

import zipfile
from pathlib import Path

import pytest
from kfp import dsl

from pipeline import check, compiler, console, graph
from pipeline.check import Failed
from pipeline.engines import isolated
from pipeline.graph import Install
from pipeline.target import Target


@dsl.component(base_image="python:3.11")
def say(text: str) -> str:
    return text


@dsl.pipeline(name="inner")
def inner():
    say(text="inner").set_memory_limit("500Mi").set_retry(0)


@dsl.pipeline(name="asking")
def asking(cpus: str = "2"):
    task = say(text="").set_cpu_limit("16").set_accelerator_type("NVIDIA_TESLA_T4").set_accelerator_limit(2)
    task.set_retry(5, backoff_duration="10s")
    say(text="a").set_cpu_request("64").set_cpu_limit(cpus)
    say(text="b").set_memory_request("200G")
    with dsl.ParallelFor([1, 2]):
        say(text="c")
    inner()
    dsl.importer(artifact_uri="gs://b/x", artifact_class=dsl.Dataset)


@pytest.fixture
def nodes(tmp_path):
    def of(engine):
        compiler.compile_pipeline(asking, tmp_path / "spec.yaml", Target(engine))
        found = graph.nodes(graph.load(tmp_path / "spec.yaml"))
        return sorted((node.step, node.cpus, node.memory, node.accelerator, node.retries) for node in found)

    return of


def test_profile_fills_only_what_the_pipeline_does_not_ask_for(nodes, tmp_path, capsys):
    assert nodes("vertex") == [
        ("importer", "", "", "", 0),
        ("say", "16", "16G", "2 NVIDIA_TESLA_T4", 5),
        ("say-2", "{cpus}", "16G", "", 0),
        ("say-3", "4", "", "", 0),
        ("say-4", "4", "500Mi", "", 0),
        ("say-4-2", "4", "16G", "", 0),
    ]
    spec = graph.load(tmp_path / "spec.yaml")
    policies = [task.get("retryPolicy", {}) for task in spec["root"]["dag"]["tasks"].values()]
    assert "10s" in [policy.get("backoffDuration") for policy in policies]
    console.show_machines(graph.nodes(spec), "standard", "asked for")
    shown = capsys.readouterr().err
    assert "NVIDIA_TESLA_T4" in shown
    assert "500Mi" in shown


def test_local_spec_keeps_what_is_asked_and_gets_no_machines(nodes):
    assert ("say", "16", "", "2 NVIDIA_TESLA_T4", 5) in nodes("local")


@pytest.mark.parametrize(
    ("packages", "more", "installs", "own"),
    [
        ([], {}, 1, ()),
        (["six==1.17.0"], {}, 2, ()),
        (["a==1; python_version < '3.12'", 'b==2; sys_platform == "linux"'], {}, 2, ()),
        (["./x.whl", "git+https://github.com/a/b@main", "c[d]>=1,<2"], {}, 2, ()),
        (["a==1"], {"install_kfp_package": False}, 1, ()),
        (["a==1"], {"kfp_package_path": "git+https://github.com/a/kfp@1"}, 2, ()),
        (["a==1"], {"use_venv": True}, 2, ()),
        (
            ["a==1"],
            {"pip_index_urls": ["https://one/simple", "https://two/simple"], "pip_trusted_hosts": ["one"]},
            2,
            ("--index-url", "https://one/simple", "--extra-index-url", "https://two/simple", "--trusted-host", "one"),
        ),
        (
            ["a==1"],
            {"pip_index_urls": ["https://one/simple"]},
            2,
            ("--index-url", "https://one/simple", "--trusted-host", "https://one/simple"),
        ),
    ],
)
def test_packages_are_read_as_the_shell_reads_them(tmp_path, packages, more, installs, own):
    def step():
        pass

    made = dsl.component(step, base_image="python:3.11", packages_to_install=packages, **more)

    @dsl.pipeline(name="installing")
    def installing():
        made()

    compiler.compile_pipeline(installing, tmp_path / "spec.yaml")
    (container,) = graph.containers(graph.load(tmp_path / "spec.yaml")).values()
    found = graph.installs(container)
    assert graph.packages(container) == tuple(packages)
    assert len(found) == installs
    assert all(install.options[: len(own)] == own for install in found)


@pytest.mark.parametrize(
    ("package", "pinned"),
    [
        ("a==1", True),
        ('a; sys_platform == "linux"', False),
        ("./x-1-py3-none-any.whl", True),
        ("git+https://github.com/a/b@v1", True),
        ("b @ git+https://github.com/a/b@v1", True),
        ("git+https://github.com/a/b", False),
        ("a>=1", False),
    ],
)
def test_pin_is_what_names_one_version(tmp_path, package, pinned):
    def step():
        pass

    made = dsl.component(step, base_image="python:3.11", packages_to_install=[package])

    @dsl.pipeline(name="installing")
    def installing():
        made()

    compiler.compile_pipeline(installing, tmp_path / "spec.yaml")
    spec = graph.load(tmp_path / "spec.yaml")
    if pinned:
        assert check._packages(spec) == "every package is pinned"
    else:
        with pytest.raises(Failed, match="in any version"):
            check._packages(spec)


def wheel(folder: Path, value: int) -> None:
    """Write ./own-1-py3-none-any.whl with one module."""
    info = "own-1.dist-info"
    with zipfile.ZipFile(folder / "own-1-py3-none-any.whl", "w") as file:
        file.writestr("own.py", f"VALUE = {value}\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"own.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def test_environment_is_built_by_the_step_s_own_order_options_and_files(tmp_path, monkeypatch):
    calls = []

    def uv(*arguments, given=""):
        calls.append((*arguments, given))
        if arguments[0] == "venv":
            Path(arguments[-1], "bin").mkdir(parents=True, exist_ok=True)
        elif arguments[1] == "compile":
            file = Path(arguments[arguments.index("--output-file") + 1])
            file.write_text(f"{given.splitlines()[0]} --hash=sha256:0\n")

    monkeypatch.setattr(isolated, "_uv", uv)
    monkeypatch.chdir(tmp_path)
    wheel(tmp_path, 1)
    wanted = [Install(("--index-url", "https://one"), ("./own-1-py3-none-any.whl", "a; python_version < '3'"))]
    one = isolated.environment(wanted, tmp_path / "e", lambda _: None)
    _, settled, installed, settled_kfp, installed_kfp = calls
    assert settled[-4:] == ("--index-url", "https://one", "-", "./own-1-py3-none-any.whl\na; python_version < '3'")
    assert installed[-3:-1] == ("-r", "-")
    assert installed[-1] == "./own-1-py3-none-any.whl --hash=sha256:0\n"
    assert {"--require-hashes", "--index-url"} <= {*installed}
    assert settled_kfp[-3:-1] == ("--no-deps", "-")
    assert settled_kfp[-1].startswith("kfp==")
    assert {"--require-hashes", "--no-deps"} <= {*installed_kfp}
    assert (one.parents[1] / "requirements.txt").read_text() == installed[-1] + installed_kfp[-1]
    assert isolated.environment(wanted, tmp_path / "e") == one
    wheel(tmp_path, 2)  # another content under the same name is another environment
    assert isolated.environment(wanted, tmp_path / "e", lambda _: None) != one


@pytest.mark.parametrize(("pipeline", "retried"), [("training", {"train-model": 2}), ("prediction", {})])
def test_tasks_whose_failure_may_be_their_input_s_are_not_tried_again(pipeline, retried):
    """The service tries again after any failure, what a step says about its table among them."""
    found = graph.nodes(graph.parsed(compiler.compiled(compiler.load(pipeline), Target("vertex"))))
    assert {node.name: node.retries for node in found if node.retries} == retried
