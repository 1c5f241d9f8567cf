"""Scripts written for the ancestor run with the package's name changed, in any order of start."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.seed import KINDS, SCRIPTS, copy_scripts

LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (\S+ - )?[A-Z]+ - .+$")
BOUND = 30  # seconds; far beyond what any of this takes


@pytest.fixture(params=KINDS)
def scripts(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with master.py, worker.py and launcher.py."""
    return copy_scripts(request.param, tmp_path)


class Run:
    """The three scripts as processes."""

    def __init__(self, folder: Path, ports: list[int], server: str) -> None:
        addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
        options = zip(("--pull", "--pub", "--wpush", "--wpull", "--db"), addresses, strict=True)
        self._argv = {
            "master": ["--name", "foo", *itertools.chain.from_iterable(options)],
            "worker": ["--db", addresses[-1]],
            "launcher": ["--server", server, "--function", "foo", "--db", addresses[-1]],
        }
        self._folder = folder
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, str(self._folder / f"{name}.py"), *self._argv[name]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, name: str) -> tuple[list[str], str]:
        """Wait for the end of a process; return its lines and what it wrote to stderr."""
        process = self.processes[name]
        out, err = process.communicate(timeout=BOUND)
        assert process.returncode == 0, (name, out, err)
        return out.splitlines(), err

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.communicate()


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def run_once(folder: Path, order: tuple[str, ...], server: str, ports: list[int]) -> list[str]:
    """Start the scripts in an order, check what each says, and return the launcher's lines."""
    run = Run(folder, ports, server)
    try:
        for name in order:
            run.start(name)
        lines, launcher_errors = run.finish("launcher")
        for name in ("worker", "master"):
            run.processes[name].send_signal(signal.SIGTERM)
        worker_lines, worker_errors = run.finish("worker")
        master_lines, master_errors = run.finish("master")
    finally:
        run.close()
    assert not launcher_errors + worker_errors + master_errors
    results = [line for line in lines if line.startswith("b'")]
    name = next(line for line in worker_lines if "Got worker push address" in line).split(" - ")[1]
    assert results == [f"b'{name} processed a message'"] * 10
    for line in [*worker_lines, *master_lines, *(x for x in lines if x not in results)]:
        assert LOG_LINE.match(line), line
    assert sum(f" - {name} - INFO - Got worker pull address: " in x for x in worker_lines) == 1
    assert any(line.endswith("- foo - INFO - ready") for line in master_lines)
    assert any(line.endswith("- INFO - Fetching configuration from the server") for line in lines)
    assert any(re.search(r"- INFO - CLIENT [0-9a-f-]{36}", line) for line in lines)
    return [line for line in lines if "- WARNING -" in line]


@pytest.mark.parametrize("order", list(itertools.permutations(SCRIPTS)), ids="-".join)
def test_the_scripts_run_in_any_order_of_start(scripts: Path, order: tuple[str, ...]) -> None:
    assert run_once(scripts, order, "foo", free_ports(5)) == []


def test_the_scripts_run_twice_in_a_row_without_leftovers(scripts: Path) -> None:
    ports = free_ports(5)
    for _ in range(2):
        run_once(scripts, SCRIPTS, "foo", ports)
        run_folder = Path(os.environ["PALM_RUN_DIR"])
        assert not list(run_folder.glob("*/components/*.json"))
        assert not list(run_folder.glob("*/sockets/*"))


def test_an_address_decides_when_the_names_disagree(scripts: Path) -> None:
    warnings = run_once(scripts, SCRIPTS, "test", free_ports(5))
    assert len(warnings) == 1
    assert "'foo', not 'test'" in warnings[0]
