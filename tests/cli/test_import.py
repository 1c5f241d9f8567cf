"""``palm import``, from a file of pylm-registry to a cluster that runs."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell
from tests.support.cluster import until
from tests.support.seed import copy_scripts

#: The scripts of the ancestor's documentation, as its registry would have started them.
SEED = """\
# Written for pylm-registry.
[The Master]
Script = python3 master.py --name foo
--pull = _1
--pub = _2
--wpush = _3
--wpull = _4
--db = _5

[The Worker]
Script = python3 worker.py
--db = _5
Connected = The Master
Role = Worker
Replicas = 2
"""


def test_it_is_written_to_stdout_and_what_is_different_to_stderr(shell: Shell) -> None:
    copy_scripts("examples", shell.folder)
    shell.write("seed.conf", SEED)
    done = shell.palm("import", "seed.conf")
    assert done.stdout.startswith("# Made by palm import of seed.conf")
    assert "replicas = 2\n" in done.stdout
    assert done.stderr == (
        "palm: seed.conf:15: [The Worker] Replicas: 2 here; pylm started 3, one more than this"
        " says (--pylm-replicas gives 3)\n"
    )
    done = shell.palm("import", "seed.conf", "--pylm-replicas")
    assert "replicas = 3\n" in done.stdout
    assert done.stderr == ""


def test_what_would_not_run_ends_with_1_and_names_the_place(shell: Shell) -> None:
    copy_scripts("examples", shell.folder)
    shell.write("seed.conf", SEED + "[Web]\n--port = 80\n")
    done = shell.palm("import", "seed.conf", "-o", "cluster.toml", code=1)
    assert "palm: seed.conf:16: [Web] Script: it does not say what to start" in done.stderr
    assert done.stdout == "cluster.toml: the-master, the-worker\n"
    assert "# [components.Web]\n" in (shell.folder / "cluster.toml").read_text()
    done = shell.palm("import", "nothing.conf", code=1)
    assert done.stderr == "palm: nothing.conf cannot be read: No such file or directory\n"
    (shell.folder / "latin.conf").write_bytes(b"[A]\nScript = \xe4\n")
    assert "is not UTF-8 text" in shell.palm("import", "latin.conf", code=1).stderr


def test_no_file_is_lost_and_scripts_that_are_elsewhere_are_told(shell: Shell) -> None:
    shell.write("seed.conf", SEED)
    done = shell.palm("import", "seed.conf", "-o", "cluster.toml")
    assert "there is no master.py: pylm looked for it where its runner was started" in done.stderr
    shell.write("cluster.toml", "mine")
    done = shell.palm("import", "seed.conf", "-o", "cluster.toml", code=1)
    assert "palm: cluster.toml is there already (--replace writes over it)" in done.stderr
    assert (shell.folder / "cluster.toml").read_text() == "mine"
    shell.palm("import", "seed.conf", "-o", "cluster.toml", "--replace")
    assert "[components.the-master]" in (shell.folder / "cluster.toml").read_text()
    done = shell.palm("import", "seed.conf", "--replace", code=2)
    assert "--replace belongs to -o" in done.stderr


def test_programs_get_json(shell: Shell) -> None:
    copy_scripts("examples", shell.folder)
    shell.write("seed.conf", SEED)
    found = json.loads(shell.palm("import", "seed.conf", "--json", "--cluster", "other").stdout)
    assert (found["cluster"], found["runs"], found["out"]) == ("other", True, None)
    assert [each["name"] for each in found["components"]] == ["the-master", "the-worker"]
    worker = found["components"][1]
    assert (worker["start"], worker["line"]) == ({"script": "worker.py"}, 10)
    (flaw,) = found["flaws"]
    assert (flaw["line"], flaw["key"], flaw["fatal"]) == (15, "[The Worker] Replicas", False)
    assert 'name = "other"' in found["text"]


LAUNCHER = """
[The Launcher]
Script = python3 launcher.py --function foo
--server = foo
--db = _5
Connected = The Worker
"""


@pytest.mark.slow
@pytest.mark.parametrize(("options", "count"), [((), 2), (("--pylm-replicas",), 3)])
def test_29_a_file_of_the_ancestor_runs(shell: Shell, options: tuple[str, ...], count: int) -> None:
    copy_scripts("examples", shell.folder)
    shell.write("seed.conf", SEED + LAUNCHER)
    shell.palm("import", "seed.conf", "-o", "cluster.toml", *options)
    shell.palm("up", "cluster.toml")
    cluster = ("--cluster", "seed")
    found = json.loads(shell.palm(*cluster, "ps", "--json").stdout)["processes"]
    ready = {each["name"] for each in found if each["state"] == "ready"}
    workers = {f"the-worker-{number}" for number in range(count)}
    assert ready - {"the-launcher"} == {"the-master", *workers}

    def results() -> list[str]:
        lines = shell.palm(*cluster, "logs", "the-launcher").stdout.splitlines()
        return [line for line in lines if "processed a message" in line]

    until(lambda: len(results()) == 10, within=60, what="all results")
    shell.palm(*cluster, "down")
