"""One cluster has the same keys on all of its nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.registry_api.client import Refused
from palm.registry_api.schema import ClusterKeys, ErrorDetail
from palm.runner.sharedkeys import share_keys
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, process_start_time, publish_record
from palm.transport.security import ensure_keys, read_keyring


class KeySource:
    """A registry that keeps the first keys."""

    def __init__(self, code: str = "no-keys") -> None:
        self.code = code
        self.keys: ClusterKeys | None = None

    def cluster_keys(self, key: str, offer: ClusterKeys | None = None) -> ClusterKeys:
        self.keys = self.keys or offer
        if self.keys is None:
            raise Refused(404, ErrorDetail(code=self.code, text="there are none"))
        return self.keys


def machine(home: Path, name: str) -> Folders:
    for part in ("run", "state"):
        (home / name / part).mkdir(mode=0o700, parents=True)
    return Folders(home / name / "run", home / name / "state")


def test_the_second_node_has_the_keys_of_the_first(palm_home: Path) -> None:
    registry = KeySource()
    first, second = machine(palm_home, "first"), machine(palm_home, "second")
    ours = ensure_keys(second.keys)
    share_keys(first, registry)
    share_keys(second, registry)
    assert read_keyring(second.keys) == read_keyring(first.keys) != ours
    share_keys(second, registry)
    (second.keys / "worker.json").write_text("{")  # damaged
    share_keys(second, registry)
    assert read_keyring(second.keys) == read_keyring(first.keys)


def test_keys_of_what_runs_are_not_taken_away(palm_home: Path) -> None:
    registry = KeySource()
    first, second = machine(palm_home, "first"), machine(palm_home, "second")
    share_keys(first, registry)
    ours = ensure_keys(second.keys)
    pid = os.getpid()
    started = process_start_time(pid) or 0.0
    record = ComponentRecord(name="foo", role="master", instance="foo.1", pid=pid,
                             start_time=started, public_key="k")  # fmt: skip
    publish_record(second, record)
    with pytest.raises(ConfigError, match="another cluster 'default' runs on this machine"):
        share_keys(second, registry)
    assert read_keyring(second.keys) == ours


def test_a_registry_that_knows_no_keys_changes_nothing(palm_home: Path) -> None:
    folders = machine(palm_home, "first")
    ours = ensure_keys(folders.keys)
    share_keys(folders, KeySource("no-such-page"))
    assert read_keyring(folders.keys) == ours
