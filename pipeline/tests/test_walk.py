""".ci/walk does what pages say, in a fresh clone, and fails where a command does."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from pipeline import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "churn"


@pytest.fixture
def walk(tmp_path):
    """Walk through the text of a page in a repository of its own; returns the status and what was printed."""
    repository = tmp_path / "repository"
    (repository / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "walk", repository / ".ci" / "walk")
    (repository / "there.txt").write_text("from the clone\n")
    git = (
        "git",
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.com",
        "-c",
        "init.defaultBranch=main",
        "-C",
        repository,
    )
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "begin")):
        subprocess.run([*git, *command], check=True)

    def run(page, *options):
        (tmp_path / "page.md").write_text(page)
        command = [sys.executable, ".ci/walk", "--venv", sys.prefix, *options, str(tmp_path / "page.md")]
        environment = os.environ | {"GOOGLE_CLOUD_PROJECT": "of-mine"}
        ended = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        return ended.returncode, ended.stdout + ended.stderr

    run.repository = repository
    return run


PAGE = """
```python title="deep/look.py"
print(open("there.txt").read())
```

```sh
python deep/look.py
export WORD=kept
mkdir folder && cd folder
```

> ```sh title="no.sh"

<!-- fails -->

```sh
echo told; exit 2
```

<!-- not run: it costs -->
```sh
exit 1
```

```bash
exit 1
```

```sh
echo "$WORD in $(basename "$PWD"), project: ${GOOGLE_CLOUD_PROJECT-none}"
yes | head -1
```
"""


def test_files_are_written_and_commands_run_in_their_order(walk):
    status, told = walk(PAGE.replace('> ```sh title="no.sh"\n', ""), "--show")
    assert status == 0, told
    assert "wrote deep/look.py" in told
    assert "from the clone" in told
    assert "kept in folder, project: none" in told
    assert re.search(r"not run: .*page\.md:\d+  it costs", told)
    assert re.search(r"not run: .*page\.md:\d+  a block of bash; those of sh are run", told)
    assert re.search(r"3 blocks of 1 pages in \d+ s, 0 failed\.", told)
    assert not (walk.repository / "deep").exists()


@pytest.mark.parametrize(
    ("commands", "status", "expected"),
    [
        ("false\necho after", 1, "0"),
        ("false | cat", 1, "0"),
        ("echo said >&2; exit 3", 3, "0"),
        ("no-such-command-at-all", 127, "0"),
        ("cd nowhere", 1, "0"),
    ],
)
def test_command_that_fails_fails_the_walk(walk, commands, status, expected):
    ended, told = walk(f"```sh\n{commands}\n```\n\n```sh\necho next\n```\n")
    assert ended == 1
    assert f"Failed: line 1: status {status}, expected {expected}." in told
    assert "after" not in told
    assert "1 blocks of 1 pages" in told  # the page ends there
    assert ("said" in told) == ("said" in commands)


@pytest.mark.parametrize("commands", ["true", "exit 3", "echo 'Traceback (most recent call last):'; exit 1"])
def test_block_that_is_to_fail_fails_by_a_message(walk, commands):
    ended, told = walk(f"<!-- fails -->\n```sh\n{commands}\n```\n")
    assert ended == 1
    assert "expected 1 or 2, with a message." in told


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- not-run: it costs -->\n```sh\ntrue\n```\n", "line 2: the mark 'not-run: it costs' is none of not run"),
        ("```sh\ntrue\n", "line 1: the block has no end"),
        ("No command.\n", "these pages have no block of sh"),
    ],
)
def test_page_that_cannot_be_walked_is_refused(walk, page, message):
    ended, told = walk(page)
    assert ended == 2
    assert message in told


def test_file_outside_of_the_clone_is_refused(walk):
    ended, told = walk('```python title="../x.py"\n```\n\n```sh\ntrue\n```\n')
    assert ended != 0
    assert "lies outside of the repository" in told


def test_environment_is_not_made_where_one_is_given(walk):
    made = "python3 -m venv .venv && .venv/bin/pip install -q . && echo made; ls -l .venv"
    ended, told = walk(f"```sh\n{made}\n```\n", "--show")
    assert ended == 0, told
    assert f"the environment is {sys.prefix}: none is made" in told
    assert "made" in told.split("$ python3", 1)[1]
    assert "-> " in told


def test_page_shows_the_files_that_are_kept():
    page = (ROOT / "docs" / "your-script.md").read_text("utf-8")
    shown = dict(re.findall(r'```python title="([^"]+)"\n(.*?)```', page, re.DOTALL))
    kept = {str(path.relative_to(EXAMPLE)): path.read_text("utf-8") for path in EXAMPLE.rglob("*.py")}
    assert shown == kept
