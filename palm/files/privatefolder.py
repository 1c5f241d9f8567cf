"""Folders that only their user may look into."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from palm.errors import ConfigError

__all__ = ["check_ancestors", "check_folder", "private_folder"]


def private_folder(path: Path, variable: str) -> Path:
    """Make `path`, unless it is there, and return it once it is proven to be ours alone.

    `variable` is the one that moves the folder elsewhere; errors name it.
    """
    try:
        _make(path)
        _check(path, variable)
    except OSError as error:
        raise ConfigError(
            f"the folder {path} cannot be used: {error.strerror}",
            key=variable,
            hint=f"set {variable} to a folder that you may write to",
        ) from error
    return path


def check_folder(path: Path, variable: str) -> None:
    """Raise ConfigError unless a folder is ours alone and stays so; it is not made."""
    check_ancestors(path, variable)
    try:
        _check(path, variable)
    except OSError as error:
        raise ConfigError(
            f"the folder {path} cannot be used: {error.strerror}", key=variable
        ) from error


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if path.parent.exists():  # where the system makes all there is, as in /proc
            raise
        _make(path.parent)
        _make(path)
    else:
        # An odd umask or a default ACL of the parent may have given other bits than asked for.
        path.chmod(0o700)


def _check(path: Path, variable: str) -> None:
    link, folder = path.lstat(), path.stat()
    if not stat.S_ISDIR(folder.st_mode):
        raise ConfigError(
            f"{path} is not a folder", key=variable, hint=f"remove it, or set {variable}"
        )
    # A link of our own may lead to another disk; anybody else's could lead anywhere.
    for found in (link, folder):
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"the folder {path} belongs to user {found.st_uid}, not to you ({os.geteuid()})",
                key=variable,
                hint=f"set {variable} to a folder of your own",
            )
    if folder.st_mode & 0o077:
        raise ConfigError(
            f"the folder {path} is open to other users (mode {folder.st_mode & 0o777:03o})",
            key=variable,
            hint=f"run: chmod 700 {path}",
        )


def check_ancestors(path: Path, variable: str) -> None:
    """Raise ConfigError if a folder could be exchanged, since one above it is open to all."""
    # Where everybody may rename entries (no sticky bit), a folder can be exchanged for another.
    for parent in path.parents:
        try:
            mode = parent.stat().st_mode
        except OSError:
            continue  # not there yet (it will be made 0700), or not ours to look at
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ConfigError(
                f"the folder {path} is not safe: everybody may rename what is in {parent}",
                key=variable,
                hint=f"set {variable} to a folder elsewhere, or run: chmod o-w {parent}",
            )
