"""``palm nodes add``: a runner on another machine, over SSH."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from typing import Any

from palm.cli.attach import known
from palm.cli.commands.joining import invite, labels_of
from palm.cli.failures import NOT_READY, OK, CommandFailed
from palm.clusters import Cluster
from palm.engines.reach import out_of_reach
from palm.engines.scheduler import PREFIX
from palm.engines.ssh import Host, Python, SSHFailed, join_over_ssh, parse_host
from palm.errors import ConfigError
from palm.registry_api.schema import API, version_problem
from palm.spec.allow import check_allow
from palm.spec.names import check_name
from palm.spec.node import parse_ports

__all__ = ["run"]

#: Seconds that the join string is good for: it is on its way already.
_TTL = 600.0
_POLL = 0.1
#: Options that make no sense for many machines.
_OF_A_MACHINE = (
    "config", "address", "ports", "cores", "places", "python", "identity", "known_hosts",
)  # fmt: skip


def run(arguments: Namespace) -> int:
    """Start a runner on another machine, and wait until that is a node; or many, by Dask."""
    if arguments.host.startswith(PREFIX):
        return _add_pool(arguments)
    host = parse_host(arguments.host, arguments.known_hosts, arguments.identity)
    options = _options(arguments)
    with known() as cluster:
        _check_reach(cluster, host)
        pythons = [arguments.python] if arguments.python else [sys.executable, "python3", "python"]
        done = join_over_ssh(
            host, pythons, options, lambda python: _invited(cluster, python, arguments), _say
        )
        _wait(cluster, str(done.get("node", "")), arguments.timeout)
        _tell(cluster, host, done, as_json=arguments.json)
    return OK


def _add_pool(arguments: Namespace) -> int:
    """Have all workers of a Dask cluster be nodes, those that are to come as well."""
    for name in _OF_A_MACHINE:
        if getattr(arguments, name) not in ("", None):
            raise ConfigError("each worker of Dask says that itself", key=f"--{name}")
    name = arguments.name or "dask"
    with known() as cluster:
        nodes = cluster.add_nodes(
            arguments.host,
            name,
            labels=labels_of(arguments.label),
            allow=arguments.allow,
            timeout=arguments.timeout,
            say=_say,
        )
        if arguments.json:
            print(json.dumps({"cluster": cluster.name, "pool": name, "nodes": nodes}))
        else:
            print(f"{', '.join(nodes) or 'no worker yet'}: nodes of {cluster.name}; workers that"
                  f" are to come are some, too, as long as {name} runs")  # fmt: skip
    return OK


def _say(text: str) -> None:
    print(f"palm: {text}", file=sys.stderr, flush=True)


def _options(arguments: Namespace) -> list[str]:
    """Return what was asked for as options of the command there, after a look at it here."""
    if arguments.name:
        check_name(arguments.name)
    labels_of(arguments.label)
    check_allow(arguments.allow)
    if arguments.ports:
        parse_ports(arguments.ports)
    found = []
    for name in ("name", "config", "address", "ports", "cores", "places"):
        if (value := getattr(arguments, name)) not in ("", None):
            found.append(f"--{name}={value}")
    found += [f"--label={each}" for each in arguments.label]
    return found + [f"--allow={each}" for each in arguments.allow or ()]


def _check_reach(cluster: Cluster, host: Host) -> None:
    """Refuse what cannot work before anything is done."""
    if why := out_of_reach(cluster.registry.info().url, host.name):
        raise SSHFailed(why)


def _invited(cluster: Cluster, python: Python, arguments: Namespace) -> str:
    problem = version_problem(python.api, API)
    if problem is not None:
        raise SSHFailed(
            f"palm {python.version} on that machine and this one do not understand each other:"
            f" {problem[0]}; on that machine: {python.path} -m pip install -U palm-cluster"
        )
    return str(invite(cluster, _TTL, arguments.name))


def _wait(cluster: Cluster, node: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not any(
        each.name == node and each.alive for each in cluster.registry.nodes(cluster.name)
    ):
        if time.monotonic() > deadline:
            text = f"the runner was started, but is no node of {cluster.name!r} after {timeout:g} s"
            raise CommandFailed(text, NOT_READY)
        time.sleep(_POLL)


def _tell(cluster: Cluster, host: Host, done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cluster": cluster.name, "host": str(host), **done}))
    else:
        print(f"{done['node']} is a node of {cluster.name}; its log on {host.name}: {done['log']}")
