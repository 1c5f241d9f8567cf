"""Machines that become nodes and stop to be some: by SSH, by a join string; their code and keys.

The other machine is this one, with folders of its own, and a real sshd on a loopback port.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import ReplicaStatus
from palm.runner.local import node_name
from tests.cli.conftest import Shell
from tests.runner.conftest import exists
from tests.support.nodes import eventually
from tests.support.registry import ROOT, RegistryProcess
from tests.support.requirements import require
from tests.support.sshd import Sshd

pytestmark = pytest.mark.slow

FILE = """
[components.work]
script = "work.py"
files = ["lib"]
node = "far"
ready = "log:works"
[components.no]
command = ["sleep", "600"]
node = "far"
restart = "never"
"""


class Far:
    """A registry, a shell on its machine, and folders of another machine."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.registry = RegistryProcess(home).start()
        self.client: RegistryClient = self.registry.client(retry=5.0)
        self.client.create_cluster("default")
        self.shell, self.there = Shell(folder), Shell(folder)
        self.there.env["PALM_RUN_DIR"] = f"{home}/far/run"
        self.there.env["PALM_STATE_DIR"] = f"{home}/far/state"

    def replicas(self) -> dict[str, ReplicaStatus]:
        status = self.client.cluster_status("default")
        return {r.name: r for component in status.components for r in component.replicas}

    def state(self, name: str) -> str:
        """The state of a process, "" while there is none."""
        found = self.replicas().get(name)
        return "" if found is None else found.state

    def names(self) -> list[str]:
        return [node.name for node in self.client.nodes("default")]

    def is_gone(self) -> bool:
        return not list((self.home / "far/state/default").glob("joined-*"))

    def close(self) -> None:
        for name in self.names():
            self.client.leave("default", name)
        assert eventually(self.is_gone)
        self.client.end_cluster("default")
        self.client.close()
        self.registry.stop()


@pytest.fixture
def far(palm_home: Path, tmp_path: Path) -> Iterator[Far]:
    running = Far(palm_home, tmp_path)
    yield running
    running.close()


@pytest.mark.sshd
def test_47_a_node_comes_over_ssh_runs_what_its_owner_allows_and_goes(
    far: Far, palm_home: Path, tmp_path: Path
) -> None:
    require("sshd")
    sshd = Sshd(palm_home, {"PYTHONPATH": f"{ROOT}:{ROOT}/registry"})
    sshd.start()
    try:
        key = ("--identity", str(sshd.identity))
        empty = tmp_path / "known"
        empty.write_text("")
        refused = far.shell.palm(
            "nodes", "add", sshd.host, *key, "--known-hosts", str(empty), code=1
        )
        assert "shows a key that is not known" in refused.stderr
        assert f"ssh-ed25519 {sshd.fingerprint}" in refused.stderr
        assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in refused.stderr
        assert not (palm_home / "far").exists()
        done = far.shell.palm(
            "--json", "nodes", "add", sshd.host, *key, "--known-hosts", str(sshd.known_hosts),
            "--name", "far", "--label", "zone=eu", "--allow", "script",
        )  # fmt: skip
        found = json.loads(done.stdout)
        assert (found["node"], found["host"]) == ("far", sshd.host)
        assert "starts a runner" in done.stderr
        node = far.client.nodes("default")[0]
        assert (node.name, node.alive, node.labels) == ("far", True, {"zone": "eu"})
        secrets = [p.read_text() for p in (palm_home / "far/state/default").glob("joined-*")]
        token = json.loads(secrets[0])["token"]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert token.encode() not in path.read_bytes()
            except OSError:
                continue  # it has ended
        code_travels(far, tmp_path)
        pid = far.replicas()["work"].pid
        assert pid is not None
        far.shell.palm("nodes", "remove", "far", "--yes")
        assert eventually(lambda: not exists(pid))
        assert eventually(far.is_gone)
        assert eventually(lambda: not exists(found["pid"]))
        assert "far" not in far.names()
        assert not list((palm_home / "far/state/default/keys").glob("*.json"))
    finally:
        sshd.stop()


def code_travels(far: Far, tmp_path: Path) -> None:
    """Put a file in force whose folder is away by the time that a node wants it."""
    project = tmp_path / "project"
    (project / "lib").mkdir(parents=True)
    (project / "cluster.toml").write_text(FILE)
    (project / "lib" / "own.py").write_text("VALUE = 42\n")
    (project / "lib" / "data.txt").write_text("beside it")
    (project / "work.py").write_text(
        "import time\nfrom lib.own import VALUE\n"
        "print('works', VALUE, open('lib/data.txt').read(), flush=True)\ntime.sleep(600)\n"
    )
    # The same folder there would be used as it is: as another machine, this one has none.
    away = tmp_path / "away"
    far.shell.folder = project
    code = far.shell.palm("apply", "cluster.toml", "--no-wait")
    assert "version 1" in code.stdout
    project.rename(away)
    far.shell.folder = tmp_path
    far.client.restart("default", "work")
    assert eventually(lambda: far.state("work") == "ready", 30)
    assert "works 42 beside it" in far.shell.palm("logs", "work").stdout
    assert eventually(lambda: far.state("no") == "failed")
    assert "the owner of this node does not allow the command sleep" in far.replicas()["no"].reason
    away.rename(project)
    (project / "lib" / "own.py").write_text("VALUE = 43\n")
    said = far.shell.palm("diff", "project/cluster.toml", code=1).stdout
    assert "~ work: restarted\n    lib/own.py changed" in said


def test_47_a_join_string_is_good_once_and_another_certificate_is_none(far: Far) -> None:
    text = far.shell.palm("nodes", "join-string", "--name", "far").stdout.strip()
    done = far.there.palm("--json", "nodes", "join", text, "-d")
    assert json.loads(done.stdout)["node"] == "far"
    assert far.names() == ["far"]
    again = far.there.palm("nodes", "join", text, "--name", "far", "-d", code=1)
    assert "used already (ask for another one: palm nodes join-string)" in again.stderr
    broken = far.there.palm("nodes", "join", text[:-9], "-d", code=1)
    assert "is not whole" in broken.stderr
    twice = far.there.palm("nodes", "join", "-d", code=1)
    assert "this machine is the node 'far' of default already: pid" in twice.stderr
    lost = far.there.palm("nodes", code=3)
    assert f"is on another one: {far.client.url} (ask there" in lost.stderr
    second = far.there.palm("up", code=1)
    assert f"is a node of the cluster 'default' of {far.client.url}" in second.stderr
    for said in (again, broken):
        assert text not in said.stderr
        assert "Traceback" not in said.stderr
    private = far.home / "far/state/default"
    for path in (*private.glob("joined-*"), *private.glob("keys/*.json")):
        assert path.stat().st_mode & 0o077 == 0
    # Ended, it is the same node again, without another join string.
    ready = far.home / "far/run/default/joined-far.pid"
    pid = int(ready.read_text())
    os.kill(pid, 15)
    assert eventually(lambda: not exists(pid))
    far.there.palm("nodes", "join", "-d")
    assert far.names() == ["far"]
    begun = far.client.nodes("default")[0]
    assert begun.alive
    # Other keys, and another token, while it runs.
    file = far.home / "far/state/default/joined-far.json"
    token = json.loads(file.read_text())["token"]
    far.shell.palm("keys", "rotate")
    ours, theirs = (far.home / where / "default/keys" for where in ("state", "far/state"))
    assert eventually(
        lambda: (
            [(p.name, p.read_text()) for p in sorted(theirs.glob("*.json"))]
            == [(p.name, p.read_text()) for p in sorted(ours.glob("*.json"))]
        )
    )
    assert eventually(lambda: json.loads(file.read_text())["token"] != token)
    far.shell.palm("nodes", "remove", "far", "--now", "--yes")
    assert eventually(far.is_gone)
    assert node_name() not in far.names()
