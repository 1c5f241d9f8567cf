"""Real processes: what a child does about the pipes of its supervisor."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runtime import lifeline

BUSY = """
import os, sys, time
from palm.runtime.lifeline import notify_ready, tie_to_supervisor
def lost():
    print("lost", flush=True)
tie_to_supervisor(lost, grace=0.2)
print([name for name in os.environ if name in ("PALM_TIE_FD", "PALM_READY_FD")], flush=True)
notify_ready()
notify_ready()
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    sum(range(10_000))
"""

POLITE = """
import threading
from palm.runtime.lifeline import notify_ready, tie_to_supervisor
stop = threading.Event()
tie_to_supervisor(stop.set, grace=30.0)
notify_ready()
stop.wait(60)
print("stopped by itself", flush=True)
"""

GRANDCHILD = """
import subprocess, sys, threading
from palm.runtime.lifeline import notify_ready, tie_to_supervisor
stop = threading.Event()
tie_to_supervisor(stop.set, grace=30.0)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
notify_ready()
stop.wait(60)
"""


class Child:
    """A child with a tie pipe and a ready pipe, and our ends of the two."""

    def __init__(self, source: str) -> None:
        tie_read, self.tie = os.pipe()
        self.ready, ready_write = os.pipe()
        env = os.environ | {"PALM_TIE_FD": str(tie_read), "PALM_READY_FD": str(ready_write)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdout=subprocess.PIPE,
            env=env,
            pass_fds=(tie_read, ready_write),
            start_new_session=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        os.close(tie_read)
        os.close(ready_write)

    def read_ready(self, timeout: float = 20.0) -> bytes:
        """All that came on the ready pipe, up to its end."""
        data = b""
        while select.select([self.ready], [], [], timeout)[0]:
            part = os.read(self.ready, 64)
            if not part:
                return data
            data += part
        raise TimeoutError("the ready pipe was not closed")

    def lose_supervisor(self) -> str:
        os.close(self.tie)
        self.tie = -1
        return self.process.communicate(timeout=20)[0]

    def close(self) -> None:
        if self.tie >= 0:
            os.close(self.tie)
        os.close(self.ready)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        child.close()


def test_ready_is_said_once_and_the_variables_are_gone(children: list[Child]) -> None:
    child = Child(BUSY)
    children.append(child)
    assert child.read_ready() == b"ready\n"
    assert child.process.stdout is not None
    assert child.process.stdout.readline() == "[]\n"


def test_busy_child_is_ended_after_grace_when_its_supervisor_is_lost(
    children: list[Child],
) -> None:
    child = Child(BUSY)
    children.append(child)
    child.read_ready()
    assert "lost\n" in child.lose_supervisor()
    assert child.process.returncode in (1, -signal.SIGKILL)


def test_child_that_stops_by_itself_is_not_delayed_by_the_grace(children: list[Child]) -> None:
    child = Child(POLITE)
    children.append(child)
    child.read_ready()
    assert child.lose_supervisor() == "stopped by itself\n"


def test_grandchildren_in_the_group_end_with_a_child_that_stops_by_itself(
    children: list[Child],
) -> None:
    child = Child(GRANDCHILD)  # its child holds the same stdout: communicate() waits for both
    children.append(child)
    child.read_ready()
    assert child.lose_supervisor() == ""


def test_without_a_supervisor_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PALM_READY_FD", raising=False)
    monkeypatch.delenv("PALM_TIE_FD", raising=False)
    lifeline.tie_to_supervisor(lambda: None, 1.0)
    lifeline.notify_ready()


@pytest.mark.parametrize("text", ["", "no number", "-1", "99999", "99999999999999999999", "²"])
def test_a_variable_that_names_no_pipe_is_ignored(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PALM_READY_FD", text)
    monkeypatch.setenv("PALM_TIE_FD", text)
    lifeline.tie_to_supervisor(lambda: None, 1.0)
    lifeline.notify_ready()


def test_a_number_of_a_file_that_is_no_pipe_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setenv("PALM_READY_FD", str(file.fileno()))
        lifeline.notify_ready()
        file.write("still open")


def test_ready_to_a_supervisor_that_is_gone_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setenv("PALM_READY_FD", str(write))
    lifeline.notify_ready()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(write)


@pytest.mark.parametrize("supervised", [True, False])
def test_a_child_knows_whether_it_is_supervised(supervised: bool) -> None:
    code = (
        "from palm.runtime.lifeline import is_supervised, notify_ready, tie_to_supervisor\n"
        "tie_to_supervisor(print, 1.0)\n"
        "notify_ready()\n"
        "print(is_supervised())\n"
    )
    read, write = os.pipe()
    env = {**os.environ, "PALM_READY_FD": str(write)} if supervised else None
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, pass_fds=[write], stdout=subprocess.PIPE,
            text=True, check=True, timeout=30,
        )  # fmt: skip
    finally:
        os.close(read)
        os.close(write)
    assert done.stdout == f"{supervised}\n"
