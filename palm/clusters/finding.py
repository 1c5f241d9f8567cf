"""Finding a cluster, and starting a local one: `up`, `connect`, `clusters`."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from palm.clusters.cluster import Cluster
from palm.clusters.lease import LeaseKeeper
from palm.clusters.status import clusters_frame
from palm.errors import ConfigError, PalmError, RegistryError
from palm.registry_api.client import Refused, RegistryClient
from palm.runner.adoption import left_behind
from palm.runner.background import Background
from palm.runner.ending import end_processes
from palm.runner.joined import joined_at
from palm.runner.local import node_name, runner_pid, start_runner
from palm.runner.registry import (
    RegistryRecord,
    ensure_registry,
    find_registry,
    has_database,
    read_registry,
)
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, process_environment
from palm.spec.duration import parse_duration
from palm.spec.names import nearest

if TYPE_CHECKING:
    import pandas

__all__ = ["attach", "clusters", "connect", "up"]

#: Seconds that a cluster goes on after the last notebook that used it.
LINGER = 120.0
#: Seconds for a cluster to end, beyond the grace of its components.
_END = 30.0
_POLL = 0.01
#: Clusters that this process has opened.
_numbers = itertools.count(1)


def up(
    linger: float | str | None = None,
    *,
    cluster: str | None = None,
    hold: bool = True,
    default_linger: float | None = LINGER,
) -> Cluster:
    """Return this user's cluster on this machine; start what of it does not run yet.

    Parameters
    ----------
    linger
        How long it goes on after the last process that holds it is gone: seconds, or text such
        as "2m" or "forever". None: ``default_linger`` for one that is started now, and as it is
        for another.
    cluster
        Its name; ``PALM_CLUSTER``, else "default".
    hold
        Keep it alive until `Cluster.close`, or the end of this process.
    default_linger
        Two minutes; None means forever.

    Raises
    ------
    ConfigError
        ``linger`` is no duration; or this machine is a node of such a cluster of another one.
    RegistryError
        The registry does not start.
    """
    folders = Folders.find(cluster=cluster)
    seconds = parse_duration(linger) if isinstance(linger, str) else linger
    url = os.environ.get("PALM_REGISTRY", "")
    if url and not _is_ours(folders, url):
        return connect(cluster, url, hold=hold)
    _refuse_a_second(folders)
    runners: list[Background] = []

    def begin_runner() -> None:
        if runner_pid(folders) is None:
            runners.append(start_runner(folders))

    client = ensure_registry(folders, begin_runner)
    try:
        if linger is not None:
            client.create_cluster(folders.cluster, seconds)
        elif not _is_alive(client, folders.cluster):
            client.create_cluster(folders.cluster, default_linger)
        keeper = LeaseKeeper(client, folders, holder_name(), hold=hold, local=True, runners=runners)
        keeper.begin()
        if linger is not None and not hold:
            # The time counts from the last lease on, and there may never have been one.
            client.lease(folders.cluster, keeper.holder, 1.0)
            client.release(folders.cluster, keeper.holder)
    except BaseException:
        client.close()
        raise
    return _cluster(client, folders, keeper, local=True)


def _refuse_a_second(folders: Folders) -> None:
    """Refuse a cluster beside the one of the same name whose node this machine is.

    It would go by the same keys, and each command here would be about the wrong one.
    """
    joined = joined_at(folders)
    if joined and not has_database(folders):
        raise ConfigError(
            f"this machine is a node of the cluster {folders.cluster!r} of {joined}",
            hint="to use it set PALM_REGISTRY and PALM_TOKEN_FILE; or name another one: --cluster",
        )


def connect(
    cluster: str | None = None, registry: str | None = None, *, hold: bool = True
) -> Cluster:
    """Return a cluster that is there.

    Parameters
    ----------
    cluster
        Its name; ``PALM_CLUSTER``, else the only one, else "default".
    registry
        Address of its registry; ``PALM_REGISTRY``, else this user's. The token is in the file
        ``PALM_TOKEN_FILE``, else this user's own.
    hold
        Keep it alive until `Cluster.close`, or the end of this process.

    Raises
    ------
    ConfigError
        There is no such cluster; with those that there are.
    RegistryError
        The registry does not answer, or refuses.
    """
    url = registry or os.environ.get("PALM_REGISTRY", "")
    client = find_registry(Folders.find(cluster=cluster), url, revive=not url)
    if client is None:
        raise ConfigError("no cluster runs here", hint="start one: palm.up(), or palm up")
    try:
        found = {info.key: info for info in client.cluster_list() if info.state == "alive"}
        name = cluster or os.environ.get("PALM_CLUSTER") or _only(found) or "default"
        if name not in found:
            raise _unknown(name, found)
        folders = Folders.find(cluster=name)
        local = not url or _is_ours(folders, url)
        keeper = LeaseKeeper(client, folders, holder_name(), hold=hold, local=local)
        if hold:
            keeper.begin()
    except BaseException:
        client.close()
        raise
    return _cluster(client, folders, keeper, local=local)


def attach(cluster: str | None = None, registry: str | None = None) -> Cluster | None:
    """Return a cluster to look at or to change, without a lease on it, be it ended.

    The arguments are those of `connect`. None if no registry runs, or it does not know the
    cluster.
    """
    registry = registry or os.environ.get("PALM_REGISTRY", "")
    folders = Folders.find(cluster=cluster)
    client = find_registry(folders, registry, revive=not registry)
    if client is None:
        return None
    try:
        client.view_cluster(folders.cluster)
    except Refused as error:
        client.close()
        if error.status == 404:
            return None
        raise
    except BaseException:
        client.close()
        raise
    local = not registry or _is_ours(folders, registry)
    keeper = LeaseKeeper(client, folders, holder_name(), hold=False, local=local)
    return _cluster(client, folders, keeper, local=local)


def clusters() -> pandas.DataFrame:
    """Return all clusters of this user's registry, or that of ``PALM_REGISTRY``: one a row."""
    client = find_registry(Folders.find(), os.environ.get("PALM_REGISTRY", ""))
    if client is None:
        return clusters_frame([])
    with client:
        return clusters_frame(client.cluster_list())


def holder_name() -> str:
    """Who we are to others that look at a cluster: a notebook, or a program; each time another."""
    notebook = os.environ.get("JPY_SESSION_NAME", "")
    what = Path(notebook or sys.argv[0] or "python").name
    printable = "".join(c for c in what if c.isprintable())[:80]
    number = next(_numbers)
    several = f" #{number}" if number > 1 else ""
    return f"{printable or 'python'} (pid {os.getpid()}{several})"


def _is_alive(client: RegistryClient, name: str) -> bool:
    try:
        return client.view_cluster(name).state == "alive"
    except Refused as error:
        if error.status != 404:
            raise
        return False


def _cluster(
    client: RegistryClient, folders: Folders, keeper: LeaseKeeper, *, local: bool
) -> Cluster:
    return Cluster(
        client,
        folders,
        keeper=keeper,
        owner=keeper.holder,
        runner=partial(_runner_environment, folders) if local else dict,
        down=partial(_down, client, folders, local=local),
    )


def _is_ours(folders: Folders, url: str) -> bool:
    record = read_registry(folders)
    return record is not None and record.url.rstrip("/") == url.rstrip("/")


def _only(names: Mapping[str, object]) -> str:
    return next(iter(names)) if len(names) == 1 else ""


def _unknown(name: str, found: Mapping[str, object]) -> ConfigError:
    close = nearest(name, found)
    known = f"there is {', '.join(sorted(found))}" if found else "start one: palm.up()"
    hint = f"did you mean {close!r}?" if close else known
    return ConfigError(f"no cluster named {name!r} runs", hint=hint)


def _runner_environment(folders: Folders) -> Mapping[str, str]:
    """What a component gets from its runner; of one that is about to start, nothing is known."""
    pid = runner_pid(folders)
    return process_environment(pid) if pid is not None else dict(os.environ)


# The end of a cluster


def _down(client: RegistryClient, folders: Folders, grace: float, *, local: bool) -> None:
    """Wait until all of a cluster is gone; end the registry that has nothing left to do."""
    if not local:
        _wait(lambda: client.view_cluster(folders.cluster).state == "ended", grace, folders)
        return
    if runner_pid(folders) is None:
        _end_left_behind(folders, grace)
    else:
        _wait(lambda: runner_pid(folders) is None, grace, folders)
    alive = [info.key for info in client.cluster_list() if info.state == "alive"]
    record = read_registry(folders)
    client.close()
    # Only with its own token one sees the clusters of all who use it.
    if not alive and record is not None and not os.environ.get("PALM_TOKEN_FILE"):
        _end_registry(record)


def _wait(is_over: Callable[[], bool], grace: float, folders: Folders) -> None:
    deadline = time.monotonic() + grace + _END
    while not is_over():
        if time.monotonic() > deadline:
            raise PalmError(
                f"the cluster {folders.cluster!r} did not end within {grace + _END:g} s"
            )
        time.sleep(_POLL)


def _end_left_behind(folders: Folders, grace: float) -> None:
    """End what a runner that is gone left running."""
    end_processes(
        (
            ComponentRecord(
                name=state.name,
                role=state.role,
                instance=state.instance,
                pid=state.pid,
                start_time=state.start_time,
                identity=state.identity,
            )
            for _, state in left_behind(folders, node_name())
            if state.is_running
        ),
        grace,
    )


def _end_registry(record: RegistryRecord) -> None:
    if record.is_running:
        with suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END
    while record.is_running:
        if time.monotonic() > deadline:
            raise RegistryError(f"the registry (pid {record.pid}) does not end")
        time.sleep(_POLL)
