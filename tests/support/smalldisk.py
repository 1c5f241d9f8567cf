"""A disk that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.requirements import require_tmpfs

__all__ = ["fill", "small_disk", "tight_disk"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    yield from _disk(tmp_path / "disk", "4m")


@pytest.fixture
def tight_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB."""
    yield from _disk(tmp_path / "disk", "32m")


def _disk(folder: Path, size: str) -> Iterator[Path]:
    require_tmpfs()
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "palm-test", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on a disk; return what takes it."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk does not fill up")
