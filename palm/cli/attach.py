"""The cluster that a command is about."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from palm.cli.failures import NO_SUCH_NAME, CommandFailed, no_such_name
from palm.clusters import Cluster, ComponentStatus, Status, attach
from palm.registry_api import RegistryClient
from palm.runner.joined import joined_at
from palm.runner.registry import ensure_registry, find_registry, has_database
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.spec.names import nearest

__all__ = ["attached", "check_component", "in_shells", "known", "past", "present", "registry"]


@contextmanager
def attached(name: str | None = None) -> Iterator[Cluster | None]:
    """Give the cluster of the command; None if there is no registry that knows it."""
    cluster = attach(name)
    try:
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()


@contextmanager
def known(name: str | None = None, way_out: str = "palm up") -> Iterator[Cluster]:
    """Give the cluster of the command; where there is none, say so, and the ``way_out``."""
    with attached(name) as cluster:
        if cluster is None:
            raise _no_cluster(Folders.find(cluster=name), way_out)
        yield cluster


def _no_cluster(folders: Folders, way_out: str) -> CommandFailed:
    client = find_registry(folders, os.environ.get("PALM_REGISTRY", ""))
    if client is None:
        if joined := joined_at(folders):
            text = f"the registry of cluster {folders.cluster!r}, whose node this machine is,"
            hint = "ask there, or set PALM_REGISTRY and PALM_TOKEN_FILE"
            return CommandFailed(f"{text} is on another one: {joined} ({hint})", NO_SUCH_NAME)
        names = []
    else:
        with client:
            names = [info.key for info in client.cluster_list() if info.state == "alive"]
    meant = nearest(folders.cluster, names)
    there = f"there is {', '.join(sorted(names))}: --cluster NAME; " if names else ""
    hint = f"did you mean {meant}?" if meant else f"{there}to start it: {way_out}"
    return CommandFailed(f"there is no cluster {folders.cluster!r} ({hint})", NO_SUCH_NAME)


def check_component(cluster: Cluster, name: str) -> None:
    """Refuse a name that no component of a cluster has."""
    if name not in cluster:
        names = [each.name for each in cluster.registry.components(cluster.name)]
        raise no_such_name(name, names, cluster.name)


@contextmanager
def registry() -> Iterator[RegistryClient]:
    """Give the registry itself, whatever clusters it has; this user's is started if need be."""
    url = os.environ.get("PALM_REGISTRY", "")
    folders = Folders.find()
    client = find_registry(folders, url) if url else None
    with client or ensure_registry(folders) as found:
        yield found


def present() -> Status:
    """Return what there is by now, be it only what somebody started in a shell."""
    with attached() as cluster:
        if cluster is not None:
            return cluster.status()
    return in_shells()


def in_shells() -> Status:
    """Return what says of itself that it runs, whatever a registry knows."""
    folders = Folders.find()
    found = tuple(ComponentStatus.elsewhere(record) for record in live_records(folders))
    return Status(folders.cluster, time.time(), found, state="ended")


def past() -> None:
    """See to it that what clusters wrote can be read, also when all have ended."""
    folders = Folders.find()
    if os.environ.get("PALM_REGISTRY") or not has_database(folders):
        return
    if find_registry(folders) is None:
        ensure_registry(folders).close()
