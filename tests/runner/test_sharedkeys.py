"""One cluster has the same keys on all of its nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.registry_api.client import Refused
from palm.registry_api.schema import ClusterKeys, ErrorDetail
from palm.runner.sharedkeys import SharedKeys, keyring_of, shown
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, process_start_time, publish_record
from palm.transport.keys import Keyring, ensure_keys, read_keyring
from palm.transport.rotation import rotated


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


def keys_of(folders: Folders) -> Keyring:
    return read_keyring(folders.keys).without_folder()


def run_with_keys(folders: Folders) -> None:
    """Have a component with keys run there: this process."""
    pid = os.getpid()
    started = process_start_time(pid) or 0.0
    record = ComponentRecord(name="foo", role="master", instance="foo.1", pid=pid,
                             start_time=started, public_key="k")  # fmt: skip
    publish_record(folders, record)


def test_the_second_node_has_the_keys_of_the_first(palm_home: Path) -> None:
    registry = KeySource()
    first, second = machine(palm_home, "first"), machine(palm_home, "second")
    ours = ensure_keys(second.keys)
    SharedKeys(first, registry).share()
    SharedKeys(second, registry).share()
    assert keys_of(second) == keys_of(first) != ours.without_folder()
    SharedKeys(second, registry).share()
    (second.keys / "worker.json").write_text("{")  # damaged
    SharedKeys(second, registry).share()
    assert keys_of(second) == keys_of(first)


def test_keys_of_what_runs_are_not_taken_away(palm_home: Path) -> None:
    registry = KeySource()
    first, second = machine(palm_home, "first"), machine(palm_home, "second")
    SharedKeys(first, registry).share()
    ours = ensure_keys(second.keys)
    run_with_keys(second)
    with pytest.raises(ConfigError, match="'default' of its own, with other keys: foo"):
        SharedKeys(second, registry).share()
    assert read_keyring(second.keys) == ours


def test_a_registry_that_knows_no_keys_changes_nothing(palm_home: Path) -> None:
    folders = machine(palm_home, "first")
    ours = ensure_keys(folders.keys)
    SharedKeys(folders, KeySource("no-such-page")).share()
    assert read_keyring(folders.keys) == ours


def test_keys_of_a_cluster_with_a_registry_of_its_own_are_not_taken_away(palm_home: Path) -> None:
    registry = KeySource()
    first, second = machine(palm_home, "first"), machine(palm_home, "second")
    SharedKeys(first, registry).share()
    ours = ensure_keys(second.keys)
    (second.state / "registry.db").touch()
    with pytest.raises(ConfigError, match="of its own, with other keys"):
        SharedKeys(second, registry).share()
    assert read_keyring(second.keys) == ours


def test_47_a_node_follows_keys_that_change_also_while_components_have_those_of_before(
    palm_home: Path,
) -> None:
    registry = KeySource()
    folders = machine(palm_home, "first")
    renewed: list[str] = []
    keys = SharedKeys(folders, registry, lambda: renewed.append("token"))
    keys.share()
    run_with_keys(folders)
    assert registry.keys is not None
    keys.follow("")
    keys.follow(registry.keys.digest)
    assert renewed == []
    registry.keys = shown(rotated(keyring_of(registry.keys), 60.0))
    # A runner that starts only now knows them by those of before.
    SharedKeys(folders, registry).follow(registry.keys.digest)
    assert keys_of(folders) == keyring_of(registry.keys)
    registry.keys = shown(rotated(keyring_of(registry.keys), 60.0))
    keys.follow(registry.keys.digest)
    keys.follow(registry.keys.digest)
    assert keys_of(folders) == keyring_of(registry.keys)
    assert renewed == ["token"]


def test_keys_that_cannot_be_had_are_asked_for_again_and_missed_aloud_once(
    palm_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = KeySource()
    folders = machine(palm_home, "first")
    keys = SharedKeys(folders, registry)
    keys.follow("other")
    keys.follow("other")
    assert [record.message for record in caplog.records] == [
        "the keys of the cluster cannot be had for now: there are none"
    ]
    there = machine(palm_home, "second")
    registry.keys = shown(ensure_keys(there.keys))
    keys.follow(registry.keys.digest)
    assert keys_of(folders) == keys_of(there)
