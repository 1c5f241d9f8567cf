"""What a machine keeps of having joined, and what it forgets."""

from __future__ import annotations

from pathlib import Path

from palm.runner.joined import Joined, forget_joined, has_joined, write_joined
from palm.runtime.folders import Folders
from palm.transport.keys import ensure_keys


def joined(home: Path) -> Folders:
    folders = Folders(home / "run", home / "state")
    ensure_keys(folders.keys)
    write_joined(folders, Joined(cluster="default", node="far", url="http://h/", token="secret"))
    return folders


def test_a_node_that_was_removed_has_no_token_and_no_keys(palm_home: Path) -> None:
    folders = joined(palm_home)
    forget_joined(folders, "far")
    assert not has_joined(folders)
    assert not list(folders.keys.glob("*.json"))


def test_where_the_registry_is_its_keys_stay(palm_home: Path) -> None:
    folders = joined(palm_home)
    (folders.state / "registry.db").touch()
    forget_joined(folders, "far")
    assert not has_joined(folders)
    assert list(folders.keys.glob("*.json"))
