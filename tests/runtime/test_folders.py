from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.runtime.folders import Folders, private_folder, socket_path


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "PALM_RUN_DIR": str(tmp_path / "run"),
        "PALM_STATE_DIR": str(tmp_path / "state"),
        **more,
    }


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.find(environ(tmp_path))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_folders_are_where_the_environment_says(tmp_path: Path) -> None:
    folders = Folders.find(environ(tmp_path, PALM_CLUSTER="blue"))
    assert folders.components == tmp_path / "run" / "blue" / "components"
    assert folders.sockets == tmp_path / "run" / "blue" / "sockets"
    assert folders.cells == tmp_path / "run" / "blue" / "cells"
    assert folders.keys == tmp_path / "state" / "blue" / "keys"
    assert folders.spool == tmp_path / "state" / "spool"


def test_an_argument_beats_the_environment(tmp_path: Path) -> None:
    assert Folders.find(environ(tmp_path, PALM_CLUSTER="blue"), "red").cluster == "red"
    assert Folders.find(environ(tmp_path)).cluster == "default"


def test_every_folder_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folders = Folders.find(environ(tmp_path / "deep" / "er"))
        made = [folders.components, folders.sockets, folders.cells, folders.keys, folders.spool]
    finally:
        os.umask(before)
    for leaf in made:
        assert leaf.is_dir()
    for path in (tmp_path / "deep").rglob("*"):
        assert mode(path) == 0o700, path


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o711, 0o720, 0o777])
@pytest.mark.parametrize("part", ["run", "state"])
def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path, part: str, bits: int) -> None:
    (tmp_path / part).mkdir()
    (tmp_path / part).chmod(bits)
    with pytest.raises(ConfigError) as caught:
        Folders.find(environ(tmp_path))
    text = str(caught.value)
    assert caught.value.key == f"PALM_{part.upper()}_DIR"
    assert f"chmod 700 {tmp_path / part}" in text
    assert f"{bits:03o}" in text


def test_a_subfolder_that_was_opened_later_is_refused(folders: Folders) -> None:
    folders.sockets.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        _ = folders.sockets


def test_a_folder_that_was_removed_comes_back(folders: Folders) -> None:
    folders.components.rmdir()
    (folders.run / folders.cluster).rmdir()
    folders.run.rmdir()
    assert folders.components.is_dir()


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="not a folder"):
        Folders.find(environ(tmp_path))


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        Folders.find(environ(tmp_path / "file"))
    assert caught.value.key == "PALM_STATE_DIR"
    assert "set PALM_STATE_DIR" in str(caught.value)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_a_folder_where_none_can_be_made_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        Folders.find(environ(tmp_path, PALM_STATE_DIR="/proc/palm"))


def test_located_folders_are_not_made(tmp_path: Path) -> None:
    found = Folders.locate(environ(tmp_path))
    assert not found.run.exists()
    assert Folders.find(environ(tmp_path)) == found
    assert found.run.is_dir()


def test_a_relative_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absolute") as caught:
        Folders.find(environ(tmp_path, PALM_RUN_DIR="build/run"))
    assert caught.value.key == "PALM_RUN_DIR"


@pytest.mark.parametrize("name", ["..", "a/b", "a b"])
def test_a_cluster_cannot_lead_out_of_the_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        Folders.find(environ(tmp_path, PALM_CLUSTER=name))


def test_a_link_of_our_own_to_a_private_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "big-disk")
    assert Folders.find(environ(tmp_path)).components.is_dir()


def test_a_link_to_an_open_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "run").symlink_to(tmp_path / "open")
    with pytest.raises(ConfigError, match="open to other users"):
        Folders.find(environ(tmp_path))


def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="PALM_RUN_DIR"):
        Folders.find(environ(tmp_path))


def test_a_place_where_everybody_may_rename_is_refused(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public").chmod(0o777)
    with pytest.raises(ConfigError, match="everybody may rename"):
        Folders.find(environ(tmp_path / "public"))
    (tmp_path / "public").chmod(0o1777)  # sticky, as /tmp
    assert Folders.find(environ(tmp_path / "public")).components.is_dir()


@pytest.mark.root
@pytest.mark.parametrize("part", ["run", "state"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, part: str) -> None:
    (tmp_path / part).mkdir(mode=0o700)
    os.chown(tmp_path / part, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to user 65534") as caught:
        Folders.find(environ(tmp_path))
    assert caught.value.key == f"PALM_{part.upper()}_DIR"


@pytest.mark.root
def test_a_link_that_another_user_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "ours")
    os.chown(tmp_path / "run", 65534, 65534, follow_symlinks=False)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        Folders.find(environ(tmp_path))


def test_the_home_folder_does_not_depend_on_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palm.runtime.folders.private_folder", lambda path, variable: path)
    monkeypatch.setattr("palm.runtime.folders.check_ancestors", lambda path, variable: None)
    at_home = Folders.find({})
    monkeypatch.setenv("HOME", "/somewhere/else")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere/state")
    assert Folders.find({}) == at_home
    assert at_home.state.parts[-3:] == (".local", "state", "palm")
    assert at_home.run.parent == at_home.state / "run"


def test_a_socket_has_the_same_short_path_for_everybody(folders: Folders) -> None:
    path = socket_path(folders, "foo", "pull")
    assert path == socket_path(folders, "foo", "pull")
    assert path.parent == folders.sockets
    assert len(path.name) == 12
    assert len({socket_path(folders, n, p) for n in ("foo", "bar") for p in ("pull", "db")}) == 4


def test_a_socket_path_that_is_too_long_names_the_variable(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    folders = Folders.find(environ(tmp_path, PALM_RUN_DIR=str(deep)))
    with pytest.raises(ConfigError, match="107") as caught:
        socket_path(folders, "foo", "pull")
    assert caught.value.key == "PALM_RUN_DIR"


MAKE = """
import sys
from palm.runtime.folders import Folders
sys.stdin.readline()
f = Folders.find()
print(f.components, f.sockets, f.keys)
"""


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    for attempt in range(3):
        env = os.environ | environ(tmp_path / str(attempt))
        started = [
            subprocess.Popen(
                [sys.executable, "-c", MAKE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=env,
                text=True,
            )
            for _ in range(4)
        ]
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = {process.communicate(timeout=60)[0] for process in started}
        assert [process.returncode for process in started] == [0, 0, 0, 0]
        assert len(answers) == 1


def test_private_folder_names_the_variable_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigError, match="PALM_OTHER"):
        private_folder(tmp_path / "x", "PALM_OTHER")
