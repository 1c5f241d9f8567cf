"""Cluster files as commands take them: read, refused with all that is wrong, and compared."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palm.cli.failures import FAILED, NO_SUCH_NAME, CommandFailed
from palm.clusters import ClusterFile
from palm.errors import ConfigError
from palm.registry_api.client import Refused
from palm.spec.cluster import ClusterConfig
from palm.spec.diff import Diff
from palm.spec.text import printable

__all__ = [
    "STDIN",
    "chosen_cluster",
    "parsed",
    "read_file",
    "show_diff",
    "summary",
    "versions_told",
]

#: In the place of a file.
STDIN = "-"
_STYLES = {"+": "green", "~": "yellow", "-": "red"}


def read_file(path: str) -> ClusterFile:
    """Read a cluster file, or stdin for ``-``; relative paths of that begin here."""
    if path != STDIN:
        return ClusterFile.read(path)
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("what comes on stdin is not UTF-8 text") from error
    return ClusterFile(text, "<stdin>", str(Path.cwd()))


def parsed(file: ClusterFile) -> ClusterConfig:
    """Return what a cluster file says; else say all that is wrong with it."""
    config, errors = file.check()
    if config is None or errors:
        raise CommandFailed("\npalm: ".join(str(error) for error in errors), FAILED)
    return config


def chosen_cluster(config: ClusterConfig) -> str | None:
    """Return the cluster that a file is for, None for that of the environment.

    An option beats the environment, which beats the file.
    """
    return None if os.environ.get("PALM_CLUSTER") else config.name


@contextmanager
def versions_told() -> Iterator[None]:
    """Give a version that is not there the exit code of other names that are not."""
    try:
        yield
    except Refused as error:
        if error.code != "no-config":
            raise
        raise CommandFailed(str(error), NO_SUCH_NAME) from error


def show_diff(diff: Diff) -> None:
    """Print what changes, a component a paragraph; in colours on a terminal."""
    text = printable(str(diff))
    if diff.unchanged and diff:
        text += f"\n  unchanged: {', '.join(diff.unchanged)}"
    if not sys.stdout.isatty():
        print(text, flush=True)
        return
    from rich.console import Console  # slow to load, and of use on a terminal only
    from rich.text import Text

    console = Console(highlight=False)
    for line in text.split("\n"):
        console.print(Text(line, style=_STYLES.get(line[:1], "")), soft_wrap=True)


def summary(diff: Diff) -> str:
    """What changes, in a line."""
    signs = ((diff.added, "+"), (diff.changed, "~"), (diff.removed, "-"))
    return ", ".join(f"{sign} {each.name}" for changes, sign in signs for each in changes)
