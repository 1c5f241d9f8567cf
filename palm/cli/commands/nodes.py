"""``palm nodes``."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from palm.cli.attach import known
from palm.cli.commands.adding import run as add
from palm.cli.commands.joining import join, make_join_string
from palm.cli.failures import FAILED, OK, USAGE, CommandFailed, no_such_name
from palm.cli.tables import duration, show_table
from palm.clusters import Cluster
from palm.clusters.pools import find_pool, pools_of
from palm.engines.scheduler import PREFIX
from palm.registry_api.schema import ClusterStatus, NodeInfo
from palm.spec.pool import POOL

__all__ = ["run"]

_HEAD = ("NAME", "STATE", "CORES", "LABELS", "CPU%", "PROCESSES", "ADDRESS", "HEARD")
_NUMBERS = ("CORES", "CPU%", "PROCESSES")
#: States of a process that is gone.
_GONE = ("stopped", "failed")


def _provide(arguments: Namespace) -> int:
    from palm.cli.commands.providing import provide  # loads Dask

    return provide(arguments)


_COMING = {"join-string": make_join_string, "join": join, "add": add, "provide": _provide}


@dataclass(frozen=True)
class _Node:
    """A node and what it has to do; ``cpu`` is 100 for a core that is busy, None: not known."""

    info: NodeInfo
    processes: int
    cpu: float | None

    @property
    def state(self) -> str:
        return "ready" if self.info.alive else "lost"

    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = msgspec.to_builtins(self.info)
        return values | {"state": self.state, "processes": self.processes, "cpu": self.cpu}


def run(arguments: Namespace) -> int:
    """Show the nodes of the cluster, add or remove some, or be one."""
    if arguments.action in _COMING:
        return _COMING[arguments.action](arguments)
    with known() as cluster:
        nodes = _nodes(cluster)
        if arguments.action == "remove":
            if pool := _pool(cluster, arguments.name):
                return _remove_pool(cluster, nodes, pool, arguments)
            return _remove(cluster, nodes, arguments)
        if arguments.json:
            print(json.dumps({"cluster": cluster.name, "nodes": [n.values() for n in nodes]}))
        elif nodes:
            show_table(_HEAD, [_row(node, time.time()) for node in nodes], _NUMBERS)
        else:
            print(f"no node is in cluster {cluster.name!r}: palm up starts a runner here")
    return OK


def _nodes(cluster: Cluster) -> list[_Node]:
    status = cluster.registry.cluster_status(cluster.name)
    cpu: dict[str, float] = {}
    for sample in cluster.registry.metrics(cluster.name).samples:
        if sample.cpu is not None:
            cpu[sample.node] = cpu.get(sample.node, 0.0) + sample.cpu
    running = _running(status)
    # Asked by themselves: in a status it is as old as the latest change.
    nodes = sorted(cluster.registry.nodes(cluster.name), key=lambda each: each.name)
    return [_Node(info, running[info.name], cpu.get(info.name)) for info in nodes]


def _running(status: ClusterStatus) -> Counter[str]:
    return Counter(
        replica.node
        for component in status.components
        for replica in component.replicas
        if replica.state not in _GONE
    )


def _row(node: _Node, now: float) -> tuple[str, ...]:
    info = node.info
    labels = ", ".join(f"{key}={value}" for key, value in sorted(info.labels.items()))
    cpu = "" if node.cpu is None else f"{node.cpu:.0f}"
    heard = f"{duration(now - info.seen)} ago" if info.seen else ""
    cores = str(info.cores or "")
    processes = f"{node.processes} of {info.places}" if info.places else str(node.processes)
    return (info.name, node.state, cores, labels, cpu, processes, info.address, heard)


def _remove(cluster: Cluster, nodes: list[_Node], arguments: Namespace) -> int:
    chosen = next((node for node in nodes if node.info.name == arguments.name), None)
    if chosen is None:
        names = [node.info.name for node in nodes]
        raise no_such_name(arguments.name, names, cluster.name, "node")
    if chosen.processes and not arguments.yes:
        _confirm(chosen.info.name, chosen.processes)
    cluster.registry.leave(cluster.name, chosen.info.id, now=arguments.now)
    if arguments.json:
        found = {"removed": chosen.info.name, "processes": chosen.processes}
        print(json.dumps({"cluster": cluster.name, **found}))
    else:
        print(f"removed {chosen.info.name}: its runner ends what it runs, and itself")
    return OK


def _pool(cluster: Cluster, name: str) -> str:
    """Return the name of a pool if it is one that is meant."""
    if name.startswith(PREFIX):
        return find_pool(cluster.folders, name).name
    return name if name in {pool.name for pool in pools_of(cluster.folders)} else ""


def _remove_pool(cluster: Cluster, nodes: list[_Node], pool: str, arguments: Namespace) -> int:
    of_it = [node for node in nodes if node.info.labels.get(POOL) == pool]
    processes = sum(node.processes for node in of_it)
    if processes and not arguments.yes:
        _confirm(pool, processes)
    removed = cluster.remove_nodes(pool)
    if arguments.json:
        found = {"pool": pool, "removed": removed, "processes": processes}
        print(json.dumps({"cluster": cluster.name, **found}))
    else:
        print(f"removed {', '.join(removed) or 'no node'}: pool {pool} is no more")
    return OK


def _confirm(name: str, processes: int) -> None:
    runs = f"{name} runs {processes} process{'es' * (processes > 1)}"
    if not sys.stdin.isatty():
        raise CommandFailed(f"{runs}; to remove it all the same: --yes", USAGE)
    print(f"{runs}. Remove it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed("nothing was removed", FAILED)
