"""A cluster on machines that share the home folder: docs/nodes.md, "By a shared file system"."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.nodes import eventually
from tests.support.sharedhome import SharedHome, shared_home

pytestmark = [pytest.mark.slow, pytest.mark.netns]

FILE = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
node = "n1"
[components.foo-worker]
role = "worker"
module = "palm"
args = ["worker", "functions.py", "--master", "foo", "--name", "${name}"]
needs = ["foo"]
replicas = 3
"""

FUNCTIONS = """
import os, time

def where(value):
    time.sleep(0.01)
    return os.uname().nodename
"""

ASK = """
from palm.clients import Client
with Client("foo") as client:
    client.wait_for_workers(3, timeout=20)
    print(*sorted(set(client.job("where", range(60)))))
"""


def nodes(machines: SharedHome, name: str) -> list[str]:
    said = json.loads(machines.run(name, "-m", "palm", "--json", "nodes"))
    return sorted(node["name"] for node in said["nodes"] if node["state"] == "ready")


def test_47_machines_with_one_home_are_nodes_by_the_command_alone(palm_home: Path) -> None:
    with shared_home(palm_home, "login", "n1", "n2") as machines:
        address = machines.hosts["login"].address
        listens = ("--host", address, "--port", "8443", "--tls")
        machines.start("login", "-m", "palm", "registry", *listens)
        record = machines.home / ".local/state/palm/run/login/registry.json"
        assert eventually(record.exists)
        machines.run("login", "-m", "palm", "up")
        second = machines.run("n1", "-m", "palm", "registry", code=1)
        assert re.search("a registry runs already, as process [0-9]+ of login", second)
        # The certificate and the token are those of the state folder.
        machines.environment["PALM_REGISTRY"] = f"https://{address}:8443/"
        runners = {
            name: machines.start(name, "-m", "palm", "runner", "--address", name)
            for name in ("n1", "n2")
        }
        assert eventually(lambda: nodes(machines, "n2") == ["login", "n1", "n2"])
        (machines.home / "cluster.toml").write_text(FILE)
        (machines.home / "functions.py").write_text(FUNCTIONS)
        (machines.home / "ask.py").write_text(ASK)
        machines.run("n2", "-m", "palm", "apply", "cluster.toml")
        assert machines.run("n2", "ask.py").splitlines()[-1] == "login n1 n2"
        # What runs on another machine is not taken for dead.
        assert "nothing is left" in machines.run("n2", "-m", "palm", "gc")
        machines.run("login", "-m", "palm", "nodes", "remove", "n2", "--yes")
        assert runners["n2"].wait(20) == 0
        machines.run("login", "-m", "palm", "down")
        assert runners["n1"].wait(20) == 0
