"""The command in real processes, over folders or in a cluster of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import cluster_name, shared_registry
from tests.support.local import end_clusters

__all__ = ["cluster_name", "shared_registry"]

ROOT = Path(__file__).parents[2]

WORK = """
def double(x):
    print("doubling", x, flush=True)
    return 2 * x
"""


class Shell:
    """Runs ``palm`` as a shell would; `close` ends what was started and stayed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        path = os.pathsep.join([str(ROOT), str(ROOT / "registry")])
        self.env |= {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        self._started: list[subprocess.Popen[str]] = []

    def palm(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; ``code`` is the expected exit code."""
        command = [sys.executable, "-m", "palm", *args]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.env, cwd=self.folder, timeout=60
        )
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command that stays."""
        process = subprocess.Popen(
            [sys.executable, "-m", "palm", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
            cwd=self.folder,
            process_group=0,
        )
        self._started.append(process)
        return process

    def write(self, name: str, source: str) -> str:
        (self.folder / name).write_text(source)
        return name

    def status(self) -> list[dict[str, Any]]:
        return list(json.loads(self.palm("status", "--json").stdout)["components"])

    def processes(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.palm("ps", "--json").stdout)["processes"]
        return {process["name"]: process for process in found}

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    """Read the output of a process up to a line that has ``text``."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} did not come: {seen}")


@pytest.fixture
def shell(tmp_path: Path, palm_home: Path) -> Iterator[Shell]:
    """One that starts with empty folders: not even a registry runs."""
    shell = Shell(tmp_path)
    yield shell
    end_clusters()
    shell.close()


@pytest.fixture
def cluster_shell(tmp_path: Path, cluster_name: str) -> Iterator[Shell]:
    """One in a cluster of its own, whose registry others use, too."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()
