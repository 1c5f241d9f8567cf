"""What holds for every component: its states, and that a wish to stop is never lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from palm.errors import PalmError
from palm.runtime.component import Component, State
from palm.servers import Master, Worker
from tests.support.cluster import ThreadCluster, until


class StoppedEarlyMaster(Master):
    """Is asked to stop, by a signal say, while it opens."""

    def _open(self) -> None:
        self.stop()
        super()._open()


class StoppedEarlyWorker(Worker):
    """Likewise."""

    def _open(self) -> None:
        self.stop()
        super()._open()


def make(role: str, early: bool = False) -> Component:
    if role == "master":
        return (StoppedEarlyMaster if early else Master)("bar")
    kind = StoppedEarlyWorker if early else Worker
    return kind("w", master="foo", functions={"identity": lambda value: value})


ROLES = pytest.mark.parametrize("role", ["master", "worker"])


@ROLES
def test_its_states(cluster: ThreadCluster, role: str) -> None:
    cluster.master("foo")
    component = make(role)
    assert component.state is State.NEW
    component.open()
    assert component.state is State.STARTING
    thread = threading.Thread(target=component.serve)
    thread.start()
    until(lambda: component.state is State.RUNNING)
    component.stop()
    thread.join(10)
    assert component.state is State.STOPPED
    component.close()
    with pytest.raises(PalmError, match="stopped; make a new one"):
        component.open()


@ROLES
def test_a_failed_start_leaves_it_failed(palm_home: Any, role: str) -> None:
    component = make(role)

    def fail() -> None:
        raise OSError("no way")

    component._open = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no way"):
        component.start()
    assert component.state is State.FAILED


@ROLES
def test_stopping_before_it_serves_is_kept_in_mind(cluster: ThreadCluster, role: str) -> None:
    cluster.master("foo")
    component = make(role)
    component.open()
    component.stop()
    thread = threading.Thread(target=component.serve)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    component.close()


@ROLES
def test_stopping_while_it_opens_is_kept_in_mind(cluster: ThreadCluster, role: str) -> None:
    cluster.master("foo")
    component = make(role, early=True)
    thread = threading.Thread(target=component.start)
    thread.start()
    thread.join(1)
    ended = not thread.is_alive()
    component.stop(0.0)
    thread.join(10)
    assert ended
