"""The command in real processes, over folders of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runtime.folders import Folders
from palm.runtime.records import live_records, process_start_time

ROOT = Path(__file__).parents[2]

WORK = """
def double(x):
    print("doubling", x, flush=True)
    return 2 * x
"""


class Shell:
    """Runs ``palm`` as a shell would, and ends what was left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PALM_", "PYTHONPATH"))
        }
        self.env |= {
            "PALM_RUN_DIR": str(folder / "r"),
            "PALM_STATE_DIR": str(folder / "s"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
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

    def status(self) -> list[dict[str, object]]:
        return list(json.loads(self.palm("status", "--json").stdout)["components"])

    def close(self) -> None:
        for record in live_records(Folders.find(self.env)):
            if process_start_time(record.pid) is not None:
                os.kill(record.pid, signal.SIGKILL)
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
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()
