"""The cluster that a command is about."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from palm.clusters import Cluster, ComponentStatus, Status, attach
from palm.registry_api import RegistryClient
from palm.runner.registry import ensure_registry, find_registry, has_database
from palm.runtime.folders import Folders
from palm.runtime.records import live_records

__all__ = ["attached", "in_shells", "past", "present", "registry"]


@contextmanager
def attached() -> Iterator[Cluster | None]:
    """Give the cluster of the command; None if there is no registry that knows it."""
    cluster = attach()
    try:
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()


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
