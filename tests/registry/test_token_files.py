"""The owner's token is in a file that is the owner's alone, or it is not taken: F39."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from palm.errors import AuthenticationError, ConfigError, PalmError
from palm.files import privatefile
from palm_registry import runfile
from tests.support.registry import RegistryThread

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def link_elsewhere(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def give_away(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)


def open_folder(file: Path) -> None:
    file.parent.chmod(0o777)


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def shorten(file: Path) -> None:
    file.write_text("short\n")


WRONG: list[Callable[[Path], None]] = [
    link_elsewhere,
    open_folder,
    make_pipe,
    shorten,
    lambda file: file.chmod(0o640),
    lambda file: file.chmod(0o604),
    pytest.param(give_away, marks=pytest.mark.root),  # type: ignore[list-item]
]


def test_the_token_is_made_once_and_private_whatever_the_umask(state: Path) -> None:
    previous = os.umask(0)
    try:
        token, path = runfile.owner_token(state)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert runfile.owner_token(state) == (token, path)
    assert [file.name for file in path.parent.iterdir()] == ["owner"]  # nothing half made stays


@pytest.mark.parametrize("spoil", WRONG)
def test_a_registry_does_not_take_a_token_that_others_may_know(
    state: Path, spoil: Callable[[Path], None]
) -> None:
    _, path = runfile.owner_token(state)
    spoil(path)
    with pytest.raises(ConfigError):
        runfile.owner_token(state)


@pytest.mark.parametrize("spoil", [each for each in WRONG if each is not shorten])
def test_a_client_does_not_send_a_token_that_others_may_know(
    state: Path, spoil: Callable[[Path], None]
) -> None:
    _, path = runfile.owner_token(state)
    spoil(path)
    with pytest.raises(AuthenticationError):
        privatefile.read(path, "token", 1024)


def test_a_registry_says_what_is_wrong_and_does_not_start(palm_home: Path) -> None:
    registry = RegistryThread(palm_home).start()
    registry.stop()
    link_elsewhere(palm_home / "state" / "tokens" / "owner")
    with pytest.raises(PalmError, match="symbolic link"):
        registry.start()


def test_a_link_in_the_place_of_the_token_is_not_written_through(state: Path) -> None:
    """Who can foresee the name of the file cannot have it written elsewhere."""
    folder = state / "tokens"
    folder.mkdir(mode=0o700)
    victim = state / "victim"
    victim.write_text("mine")
    (folder / "owner").symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic link"):
        runfile.owner_token(state)
    assert victim.read_text() == "mine"
