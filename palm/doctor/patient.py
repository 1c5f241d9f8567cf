"""What checks look at: folders, environment, the registry as it is found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from palm.errors import PalmError
from palm.naming.whereabouts import own_certificate
from palm.registry_api.client import RegistryClient
from palm.runner.adoption import RunnerLock
from palm.runner.local import node_name, runner_pid
from palm.runner.registry import RegistryRecord, find_registry, read_registry
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, sort_records
from palm.spec.node import NodeConfig

__all__ = ["Patient", "without_password"]


@dataclass
class Patient:
    """The palm of a user on one machine.

    ``folders`` are those of one cluster, as `Folders.locate` says: they may be missing, or wrong.
    ``node`` is what is said of this machine.
    """

    folders: Folders
    node: NodeConfig | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def cluster_run(self) -> Path:
        """The run folder of the cluster; nothing here makes it."""
        return self.folders.run / self.folders.cluster

    @cached_property
    def record(self) -> RegistryRecord | None:
        """What the registry of this user says of itself."""
        return read_registry(self.folders)

    @property
    def given_url(self) -> str:
        """The registry that was asked for, "" for this user's own."""
        return self.environ.get("PALM_REGISTRY", "")

    @property
    def is_remote(self) -> bool:
        """Whether the registry is another than this user's on this machine."""
        url = self.given_url.rstrip("/")
        return bool(url) and (self.record is None or self.record.url.rstrip("/") != url)

    @property
    def ca_file(self) -> str:
        """The file with the certificate that the registry shows."""
        if self.is_remote:
            own = own_certificate(self.folders)
        else:
            own = self.record.certfile if self.record is not None else ""
        return self.environ.get("PALM_CA_FILE", "") or own

    @property
    def url(self) -> str:
        """Where the registry is, "" if none is known."""
        if self.given_url:
            return self.given_url
        return self.record.url if self.record is not None else ""

    @cached_property
    def answers(self) -> bool:
        """Whether the registry answers, and takes our token; what it knows can be asked then."""
        try:
            with self.registry() as client:
                client.cluster_list()
        except PalmError:
            return False
        return True

    @contextmanager
    def registry(self) -> Iterator[RegistryClient]:
        """Give a client of the registry, which is expected to answer."""
        client = find_registry(self.folders, self.given_url, retry=0.0)
        if client is None:
            raise PalmError("no registry runs here")
        with client:
            yield client

    @cached_property
    def runner(self) -> int | None:
        """The process of this machine's runner for the cluster."""
        lock = self.cluster_run / f"runner-{node_name()}.lock"
        return runner_pid(self.folders) if lock.exists() else None

    @property
    def runner_version(self) -> str:
        """The version of palm that the runner has, "" if none runs."""
        if self.runner is None:
            return ""
        return RunnerLock(self.folders, node_name()).version()

    def components(self) -> list[ComponentRecord]:
        """What runs of the cluster on this machine."""
        folder = self.cluster_run / "components"
        return sort_records(folder)[0] if folder.is_dir() else []

    def all_components(self) -> list[ComponentRecord]:
        """What runs of all clusters on this machine."""
        folders = sorted(self.folders.run.glob("*/components"))
        return [record for folder in folders for record in sort_records(folder)[0]]


def without_password(url: str) -> str:
    """An address without what may be secret in it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        place = f"{shown}:{parts.port}" if parts.port else shown
    except ValueError:
        return "what is no address"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
