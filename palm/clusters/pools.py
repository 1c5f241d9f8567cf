"""Pools of a cluster: nodes from an engine, which a component of the cluster looks after."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from palm.clusters.declaration import own_environment
from palm.engines.reach import out_of_reach
from palm.engines.scheduler import Scheduler, parse_scheduler
from palm.errors import ConfigError, PalmError
from palm.files import privatefile
from palm.registry_api.client import Refused
from palm.registry_api.schema import NodeInfo
from palm.runner.local import node_name
from palm.runtime.folders import Folders
from palm.spec.allow import check_allow
from palm.spec.component import ComponentSpec
from palm.spec.names import check_labels, check_name, nearest
from palm.spec.pool import POOL, POOL_OWNER

if TYPE_CHECKING:
    from palm.clusters.cluster import Cluster

__all__ = [
    "PoolRecord",
    "add_pool",
    "find_pool",
    "note_problems",
    "pools_of",
    "remove_pool",
    "scheduler_of",
]

#: Seconds for the nodes of a pool to end what they run when it is removed.
GRACE = 45.0
#: Seconds that the component has to reach the engine, and to have told all its workers.
_READY = 120.0
_POLL = 0.1
_PROBLEMS = ".problems"
#: Workers whose problems are shown.
_SHOWN = 3
_MAX_FILE = 1024 * 1024


class PoolRecord(msgspec.Struct, kw_only=True):
    """What is kept of a pool, so that it can be removed by the address of its engine."""

    name: str
    scheduler: str
    schema: int = 1


def add_pool(
    cluster: Cluster,
    source: Any,
    name: str,
    labels: Mapping[str, str],
    allow: Sequence[str] | None,
    timeout: float,
    say: Callable[[str], None],
) -> list[str]:
    """See `Cluster.add_nodes`; ``say`` is told how it goes."""
    check_name(name)
    check_labels(labels)
    check_allow(allow)
    scheduler, security = _scheduler(source)
    _check_free(cluster, scheduler, name)
    try:
        if security is not None:
            scheduler = replace(scheduler, tls=_keep_tls(cluster.folders, name, security))
        workers = _workers(cluster, scheduler, say)
    except PalmError:
        if not _file(cluster.folders, name).exists():
            shutil.rmtree(_tls_folder(cluster.folders, name), ignore_errors=True)
        raise
    record = PoolRecord(name=name, scheduler=str(scheduler))
    privatefile.replace(_file(cluster.folders, name), msgspec.json.encode(record))
    note_problems(cluster.folders, name, {})
    cluster.registry.declare(cluster.name, _component(cluster, scheduler, name, labels, allow))
    cluster.wait_ready(name, max(timeout, 1.0))
    return _wait(cluster, name, workers, timeout, say)


def remove_pool(cluster: Cluster, name: str) -> list[str]:
    """See `Cluster.remove_nodes`."""
    record = find_pool(cluster.folders, name)
    nodes = [node.name for node in _all_nodes(cluster, record.name)]
    if record.name in cluster:
        cluster.stop(record.name, grace=GRACE)
        cluster.remove(record.name)
    for node in _all_nodes(cluster, record.name):  # lost ones, which nobody could tell anything
        with suppress(Refused):
            cluster.registry.leave(cluster.name, node.id, now=True)
    for suffix in (".json", _PROBLEMS):
        _file(cluster.folders, record.name, suffix).unlink(missing_ok=True)
    shutil.rmtree(_tls_folder(cluster.folders, record.name), ignore_errors=True)
    return nodes


def pools_of(folders: Folders) -> list[PoolRecord]:
    """Return the pools of a cluster that were added on this machine."""
    found = sorted((folders.keys.parent / "pools").glob("*.json"))
    return [
        msgspec.json.decode(privatefile.read(path, "file of a pool", _MAX_FILE), type=PoolRecord)
        for path in found
    ]


def find_pool(folders: Folders, name: str) -> PoolRecord:
    """Return a pool by its name, or by the address of its engine.

    Raises
    ------
    ConfigError
        There is none.
    """
    known = {key: pool for pool in pools_of(folders) for key in (pool.name, pool.scheduler)}
    if name in known:
        return known[name]
    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else f"there is {', '.join(known) or 'none'}"
    raise ConfigError(f"no pool of nodes is called {name}", hint=hint)


def scheduler_of(folders: Folders, text: str, name: str) -> Scheduler:
    """Return a scheduler, with the files by which it is reached if there are some."""
    found = parse_scheduler(text)
    tls = _tls_folder(folders, name)
    return Scheduler(found.host, found.port, tls if tls.exists() else None)


def _scheduler(source: Any) -> tuple[Scheduler, Any]:
    """Return where an engine is, by its address or as a ``distributed.Client`` knows it.

    With it comes what such a client has of TLS, None without.
    """
    if isinstance(source, str):
        return parse_scheduler(source), None
    try:
        address, security = source.scheduler.address, source.security
    except AttributeError as error:
        raise ConfigError(
            f"{type(source).__name__} is no engine", hint="dask://HOST:PORT, or a Client of Dask"
        ) from error
    return parse_scheduler(address), security if security.require_encryption else None


def _keep_tls(folders: Folders, name: str, security: Any) -> Path:
    """Keep what a client of Dask has of TLS: a path, or the text of a file."""
    tls = _tls_folder(folders, name)
    tls.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file, value in (
        ("ca", security.tls_ca_file),
        ("cert", security.tls_client_cert),
        ("key", security.tls_client_key),
    ):
        text = value if "\n" in value else Path(value).read_text("utf-8")
        privatefile.replace(tls / f"{file}.pem", text.encode())
    return tls


def _check_free(cluster: Cluster, scheduler: Scheduler, name: str) -> None:
    """Refuse a name that something else has, and an engine that is a pool already."""
    components = {each.name: each.owner for each in cluster.registry.components(cluster.name)}
    pools = {p.name: p for p in pools_of(cluster.folders) if components.get(p.name) == POOL_OWNER}
    if name in components and name not in pools:
        text = f"a component is called {name} already"
        raise ConfigError(text, key="name", hint="give the pool another name")
    for pool in pools.values():
        if pool.scheduler == str(scheduler) and pool.name != name:
            text = f"the workers of {scheduler} are nodes already: pool {pool.name}"
            raise ConfigError(text, hint=f"palm nodes remove {pool.name}")
    before = parse_scheduler(pools[name].scheduler) if name in pools else scheduler
    if str(before) != str(scheduler) and before.listens():
        text = f"the pool {name} is that of {before}"
        raise ConfigError(text, key="name", hint="give this one another name")
    if not (cluster.is_local or _is_node(cluster)):
        raise ConfigError(
            "what looks after these nodes runs on this machine, which is none of the cluster",
            hint="palm up, where the registry is",
        )


def _is_node(cluster: Cluster) -> bool:
    """Whether this machine is a node; that of the registry is about to be one at the least."""
    here = node_name()
    return any(node.name == here and node.alive for node in cluster.registry.nodes(cluster.name))


def _workers(cluster: Cluster, scheduler: Scheduler, say: Callable[[str], None]) -> int:
    """Return how many workers of an engine can be nodes by now; it must be there."""
    # Loads Dask, which takes a second.
    from palm.engines.daskpool import DaskPool

    pool = DaskPool(scheduler, cluster.name, "look")
    try:
        workers = pool.workers()
    finally:
        pool.drop()
    refusals = [out_of_reach(cluster.registry.url, worker.host) for worker in workers]
    if refusals and all(refusals):
        raise ConfigError(refusals[0])
    s = "" if len(workers) == 1 else "s"
    say(f"{scheduler} has {len(workers)} worker{s}")
    return sum(not refusal for refusal in refusals)


def _component(
    cluster: Cluster,
    scheduler: Scheduler,
    name: str,
    labels: Mapping[str, str],
    allow: Sequence[str] | None,
) -> ComponentSpec:
    command = [sys.executable, "-m", "palm", "nodes", "provide", str(scheduler), "--name", name]
    command += [f"--label={key}={value}" for key, value in sorted(labels.items())]
    command += [f"--allow={rule}" for rule in allow or ()]
    return ComponentSpec(
        name=name,
        argv=[argument.replace("${", "$${") for argument in command],
        env=own_environment(cluster.runner_environment()),
        cwd=str(cluster.folders.state),
        node=node_name(),
        ready="log:^provides nodes",
        ready_timeout=_READY,
        restart="always",
        grace=GRACE,
        owner=POOL_OWNER,
    )


def _wait(
    cluster: Cluster, name: str, workers: int, timeout: float, say: Callable[[str], None]
) -> list[str]:
    """Wait until so many nodes are there, and return their names."""
    deadline, said = time.monotonic() + timeout, -1
    while len(found := _nodes(cluster, name)) < workers:
        if said != len(found):
            said = len(found)
            say(f"{said} of {workers} are nodes")
        problems = _problems(cluster.folders, name)
        if problems and len(found) + len(problems) >= workers:
            raise PalmError(_said(len(found), workers, problems))
        if time.monotonic() > deadline:
            late = f"{len(found)} of {workers} workers are nodes after {timeout:g} s"
            raise PalmError(f"{late}; see palm logs {name}")
        time.sleep(_POLL)
    return found


def _said(found: int, workers: int, problems: Mapping[str, str]) -> str:
    """Say why workers are no nodes; of many the first few."""
    lines = [f"{node}: {why}" for node, why in sorted(problems.items())[:_SHOWN]]
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return "\n  ".join([f"{found} of {workers} workers are nodes", *lines, *more])


def note_problems(folders: Folders, name: str, problems: Mapping[str, str]) -> None:
    """Keep why workers of a pool are no nodes, for whoever waits for them."""
    privatefile.replace(_file(folders, name, _PROBLEMS), msgspec.json.encode(problems))


def _problems(folders: Folders, name: str) -> dict[str, str]:
    data = privatefile.read(_file(folders, name, _PROBLEMS), "file of a pool", _MAX_FILE)
    return msgspec.json.decode(data, type=dict[str, str])


def _nodes(cluster: Cluster, name: str) -> list[str]:
    return [node.name for node in _all_nodes(cluster, name) if node.alive]


def _all_nodes(cluster: Cluster, name: str) -> list[NodeInfo]:
    """Return the nodes of a pool, lost ones included."""
    found = [n for n in cluster.registry.nodes(cluster.name) if n.labels.get(POOL) == name]
    return sorted(found, key=lambda node: node.name)


def _file(folders: Folders, name: str, suffix: str = ".json") -> Path:
    folder = folders.keys.parent / "pools"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}{suffix}"


def _tls_folder(folders: Folders, name: str) -> Path:
    return folders.keys.parent / "pools" / name
