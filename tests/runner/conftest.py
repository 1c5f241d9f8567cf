"""A supervisor over real processes, and the scripts that they run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runner.service import ProcessSupervisor
from palm.spec.process import ProcessSpec
from tests.support.nodes import FakeRegistry, House, RunningNode

ROOT = str(Path(__file__).parents[2])

# No event: one that is set in a handler may wait for itself, in whom the signal interrupted.
PROLOGUE = """
import os, signal, subprocess, sys, threading, time
from palm.runtime.lifeline import notify_ready, tie_to_supervisor
class Stop:
    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()
    def set(self):
        if self.lock.locked():
            self.lock.release()
    def is_set(self):
        return not self.lock.locked()
    def wait(self, seconds):
        if self.lock.acquire(timeout=seconds):
            self.lock.release()
        return self.is_set()
stop = Stop()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
tie_to_supervisor(stop.set, grace=0.5)
"""

SERVE = PROLOGUE + "print('up', os.getpid(), flush=True); notify_ready(); stop.wait(60)\n"

STUBBORN = (
    PROLOGUE
    + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
notify_ready()
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    sum(range(10_000))
"""
)


def script(name: str, source: str, **options: object) -> ProcessSpec:
    """A process that runs a piece of Python."""
    env = {"PYTHONPATH": ROOT} | options.pop("env", {})  # type: ignore[operator]
    return ProcessSpec(name, (sys.executable, "-c", source), env=env, **options)  # type: ignore[arg-type]


def exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ProcessSupervisor]:
    supervisor = ProcessSupervisor(tmp_path / "spool")
    yield supervisor
    supervisor.close(grace=0.0)


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def node(registry: FakeRegistry) -> Iterator[RunningNode]:
    running = RunningNode(registry)
    yield running
    if running.thread.is_alive():
        registry.refusal = None
        registry.go_away(False)
        registry.want(ending=True)
        running.join()


@pytest.fixture
def house(palm_home: Path) -> Iterator[House]:
    house = House(palm_home)
    yield house
    house.close()
