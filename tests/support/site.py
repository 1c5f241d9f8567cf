"""A cluster on hosts of its own: a registry, nodes, and whoever looks on from one more host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palm.clients import Client
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import ReplicaStatus
from tests.support.hosts import Hosts
from tests.support.nodes import eventually

#: Seconds for all to start, on a machine that has much else to do.
START = 60.0

FUNCTIONS = """
import os, time

def work(x):
    with open(os.environ["RUNS"], "a") as file:
        file.write(f"{x}\\n")
    time.sleep(0.005)
    return 2 * x

def echo(x):
    return x
"""

FILE = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
labels = {{ leads = "yes" }}

[components.foo-worker]
role = "worker"
module = "palm"
args = ["worker", "functions.py", "--master", "foo", "--name", "${{name}}"]
labels = {{ works = "yes" }}
replicas = 2
env = {{ RUNS = "{runs}" }}
"""

#: Host -> labels of its node; ``north`` leads first, ``south`` may lead in its place.
NODES = {
    "north": {"leads": "yes"},
    "east": {"works": "yes"},
    "south": {"leads": "yes", "works": "yes"},
}


class Site:
    """Hosts ``registry``, ``north``, ``east``, ``south`` and ``desk``, where this thread is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.hosts = Hosts(home, "registry", *NODES, "desk")
        self.runs = home / "runs"
        self.runs.touch()

    def start(self) -> None:
        """Start the registry, a runner on each node, and the cluster."""
        self._start_registry()
        self.client.create_cluster("default")
        for name, labels in NODES.items():
            self._start_runner(name, labels)
        assert eventually(lambda: len(self.client.nodes("default")) == len(NODES), START), (
            self.logs()
        )
        code = self.home / "code"
        code.mkdir()
        (code / "functions.py").write_text(FUNCTIONS)
        self.client.set_cluster("default", FILE.format(runs=self.runs), folder=str(code))
        assert eventually(self.is_ready, START), self.logs()

    def begin_registry(self) -> None:
        """Start the registry on its host."""
        host = self.hosts["registry"]
        host.start(
            "-m", "palm_registry", "--tls", "--host", host.address, "--port", "8443",
            "--move-after", "1",
        )  # fmt: skip

    def _start_registry(self) -> None:
        host = self.hosts["registry"]
        self.begin_registry()
        self.url = f"https://{host.address}:8443/"
        written = host.home / "run/registry.json"
        assert eventually(written.exists, START), host.log()
        record = json.loads(written.read_text())
        self.certificate = Path(record["certfile"])
        token = Path(record["token_file"]).read_text().strip()
        self.client = RegistryClient(self.url, token, retry=1.0, ca_file=self.certificate)
        self._admit("desk", token)

    def _admit(self, name: str, token: str) -> None:
        """Bring to a host what its user would copy there."""
        host = self.hosts[name]
        for file, text in (("token", token), ("ca.pem", self.certificate.read_text())):
            path = host.home / file
            path.touch(mode=0o600)
            path.write_text(text)
        host.environment |= {
            "PALM_REGISTRY": self.url,
            "PALM_TOKEN_FILE": str(host.home / "token"),
            "PALM_CA_FILE": str(host.home / "ca.pem"),
        }

    def _start_runner(self, name: str, labels: dict[str, str]) -> None:
        host = self.hosts[name]
        self._admit(name, self.client.add_token(name, "runner", cluster="default").token)
        said = ", ".join(f'{key} = "{value}"' for key, value in labels.items())
        config = host.home / "node.toml"
        config.write_text(
            f'name = "{name}"\naddress = "{host.address}"\ncores = 2\nports = "42000-42099"\n'
            f"labels = {{ {said} }}\n"
        )
        host.start("-m", "palm", "runner", "--config", str(config))

    @contextmanager
    def caller(self) -> Iterator[Client]:
        """A client at the desk, which knows the registry and nothing else."""
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.hosts["desk"].environment.items():
                patch.setenv(key, value)
            with Client("foo") as client:
                yield client

    def is_ready(self) -> bool:
        return self.client.cluster_status("default").ready

    def replicas(self) -> dict[str, ReplicaStatus]:
        status = self.client.cluster_status("default")
        return {r.name: r for component in status.components for r in component.replicas}

    def address_of_master(self) -> str:
        return next(each.address for each in self.client.names("default") if each.name == "foo")

    def times_run(self) -> dict[int, int]:
        """How often each message was run, wherever."""
        counts: dict[int, int] = {}
        for line in self.runs.read_text().split():
            counts[int(line)] = counts.get(int(line), 0) + 1
        return counts

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n{self.hosts[name].log()}"
            for name in ("registry", *NODES)
            if (self.hosts[name].home / "log").exists()
        )


@contextmanager
def running_site(home: Path) -> Iterator[Site]:
    """A site while it is needed; this thread is at its desk."""
    site = Site(home)
    try:
        with site.hosts["desk"].entered():
            site.start()
            yield site
            site.client.close()
    finally:
        site.hosts.close()
