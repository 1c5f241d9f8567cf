"""Copies of palm, each with one bug: patches in ``bugs/``, each applied to a copy of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["BUGS", "FOUND", "bugs", "planted", "run"]

ROOT: Final = Path(__file__).parents[2]

#: The patches; and where each bug shows first.
BUGS: Final = Path(__file__).parent / "bugs"
FOUND: Final = Path(__file__).parent / "found.json"

#: What a copy has: the product, and what looks for its bugs.
COPIED: Final = ("palm", "tests", "pyproject.toml")


def bugs() -> list[str]:
    """Return the names of all bugs."""
    return sorted(path.stem for path in BUGS.glob("*.patch"))


@contextmanager
def planted(bug: str) -> Iterator[Path]:
    """Return the folder of a copy with the bug; with an empty name it has none."""
    with tempfile.TemporaryDirectory(prefix="palm-planted-") as folder:
        copy = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns("__pycache__", ".hypothesis")
                shutil.copytree(ROOT / name, copy / name, ignore=ignore)
            else:
                shutil.copy(ROOT / name, copy / name)
        if bug:
            command = ["git", "apply", str(BUGS / f"{bug}.patch")]
            # Outside of any repository: there, git would look for the files of that.
            environ = os.environ | {"GIT_CEILING_DIRECTORIES": str(copy.parent)}
            done = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{bug} does not apply any more:\n{done.stderr}")
        yield copy


def run(copy: Path, *arguments: str, timeout: float = 900.0) -> str:
    """Run `tests.planted.finding` in a copy; return what it printed."""
    command = [sys.executable, "-m", "tests.planted.finding", *arguments]
    environ = os.environ | {"PYTHONPATH": str(copy)}
    environ.pop("PALM_SEED", None)
    done = subprocess.run(
        command, cwd=copy, env=environ, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout
