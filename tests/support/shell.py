"""The command ``palm`` as a shell runs it, in the folders of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from palm.runtime.folders import Folders
from tests.support.leaks import processes_of

#: Seconds; far beyond what any command takes.
BOUND = 90.0


class Shell:
    """Runs commands in a folder, for one cluster."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self.folder = folder
        self.cluster = cluster

    @property
    def folders(self) -> Folders:
        """Those of the cluster."""
        return Folders.find(cluster=self.cluster)

    def palm(self, *args: str, code: int = 0) -> str:
        """Run a command to its end, expect an exit code, and return what it printed."""
        return self.run(*args, code=code).stdout

    def run(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The same with what it said on stderr."""
        done = self.python("-m", "palm", *args)
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def python(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run Python to its end."""
        return subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env={**os.environ, "PALM_CLUSTER": self.cluster},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What ``palm status`` says, as values."""
        found: dict[str, Any] = json.loads(self.palm("status", "--json"))
        return found

    def pids(self) -> dict[str, int]:
        """The processes that run, by name."""
        return {
            process["name"]: process["pid"]
            for component in self.status()["components"]
            for process in component["processes"]
            if process["pid"] is not None
        }

    def missing(self) -> dict[str, str]:
        """Why what is missing is missing, by component."""
        return {each["component"]: each["why"] for each in self.status()["missing"]}


def running(home: Path, *words: str) -> list[int]:
    """Processes that a test started, whoever is their parent, with these words on their lines."""
    found = []
    for process in processes_of(home):
        try:
            line = process.cmdline()
        except psutil.Error:  # gone by now
            continue
        if all(any(word in part for part in line) for word in words):
            found.append(process.pid)
    return found


def arguments(pid: int) -> list[str]:
    """The command line of a process."""
    return psutil.Process(pid).cmdline()
