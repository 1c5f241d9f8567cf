"""Processes that are suspended because of their output: none stays so for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from palm.runner.service import ProcessSupervisor
from palm.runner.spool import find_spool
from tests.runner.conftest import PROLOGUE, SERVE, script
from tests.support.nodes import eventually

TICK = PROLOGUE + "notify_ready()\nwhile not stop.wait(0.01): print('tick', flush=True)\n"
SLOW = PROLOGUE + "stop.wait(1.0); notify_ready(); stop.wait(60)\n"
FAMILY = PROLOGUE + (
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True); notify_ready(); stop.wait(60)\n"
)


def status(pid: int | None) -> str:
    assert pid is not None
    return str(psutil.Process(pid).status())


#: With one thread. Of several any may take a signal that comes as all of them go on, and the main
#: one then sleeps on: such a process is killed after its grace.
ALONE = SERVE.replace("tie_to_supervisor(stop.set, grace=0.5)\n", "")


def is_stopped(pid: int | None) -> bool:
    return eventually(lambda: status(pid) == psutil.STATUS_STOPPED)


def goes_on(pid: int | None) -> bool:
    return eventually(lambda: status(pid) != psutil.STATUS_STOPPED)


def paused(service: ProcessSupervisor, source: str, **options: object) -> tuple[str, int]:
    """A process that is suspended: its instance, and its pid."""
    instance = service.start(script("foo", source, **options))
    service.wait_ready("foo")
    service.pause("foo", instance, "paused: just so")
    pid = service.state("foo").pid
    assert pid is not None
    assert is_stopped(pid)
    return instance, pid


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[ProcessSupervisor]:
    supervisor = ProcessSupervisor(tmp_path / "spool", node="here")
    yield supervisor
    supervisor.close(grace=0.0)


def test_suspended_process_says_why_and_goes_on_where_it_was(service: ProcessSupervisor) -> None:
    seen: list[tuple[str, str]] = []
    service.subscribe(lambda state: seen.append((state.state, state.reason)))
    instance, pid = paused(service, TICK)
    assert service.state("foo").reason == "paused: just so"
    size = service.spool("foo").size("stdout")
    assert service.spool("foo").size("stdout") == size
    service.pause("foo", instance, "paused: again")
    assert service.state("foo").reason == "paused: just so"
    service.resume("foo", instance)
    assert goes_on(pid)
    assert eventually(lambda: service.spool("foo").size("stdout") > size)
    assert service.state("foo").reason != "paused: just so"
    assert service.state("foo").restarts == 0
    assert ("ready", "paused: just so") in seen
    assert eventually(lambda: seen[-1][1] != "paused: just so")
    service.stop("foo")


def test_what_it_started_is_suspended_too(service: ProcessSupervisor) -> None:
    instance, _ = paused(service, FAMILY)
    child = int(service.spool("foo").tail("stdout", 1))
    assert is_stopped(child)
    service.resume("foo", instance)
    assert goes_on(child)


def test_suspended_process_that_is_to_stop_does_so_by_itself(service: ProcessSupervisor) -> None:
    instance, _ = paused(service, ALONE)
    began = time.monotonic()
    service.stop("foo", grace=30)
    assert time.monotonic() - began < 10
    state = service.state("foo")
    assert (state.state, state.exit, state.reason) == ("stopped", 0, "was stopped")
    service.pause("foo", instance, "paused: too late")
    assert service.state("foo").reason == "was stopped"


def test_process_that_is_about_to_stop_is_not_suspended(service: ProcessSupervisor) -> None:
    instance = service.start(script("foo", SERVE))
    service.wait_ready("foo")
    service.request_stop("foo", 30)
    service.pause("foo", instance, "paused: too late")
    assert eventually(lambda: service.state("foo").state == "stopped")
    assert service.state("foo").exit == 0


def test_suspended_process_that_is_restarted_runs(service: ProcessSupervisor) -> None:
    _, pid = paused(service, ALONE)
    service.restart("foo", grace=30)
    service.wait_ready("foo")
    assert service.state("foo").pid != pid
    assert service.state("foo").reason == ""
    assert goes_on(service.state("foo").pid)


def test_next_run_of_a_suspended_process_that_was_killed_is_not_suspended(
    service: ProcessSupervisor,
) -> None:
    _, pid = paused(service, SERVE)
    psutil.Process(pid).kill()
    assert eventually(lambda: service.state("foo").pid not in (None, pid))
    service.wait_ready("foo")
    assert goes_on(service.state("foo").pid)
    assert "paused" not in service.state("foo").reason


def test_another_life_of_a_process_is_not_meant(service: ProcessSupervisor) -> None:
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    service.pause("foo", "foo.000000", "paused: just so")
    service.pause("bar", "bar.000000", "paused: just so")
    assert service.state("foo").reason == ""


def test_time_of_being_suspended_does_not_count_against_being_ready(
    service: ProcessSupervisor,
) -> None:
    instance = service.start(script("foo", SLOW, ready_timeout=4.0))
    assert eventually(lambda: service.state("foo").pid is not None)
    service.pause("foo", instance, "paused: just so")
    assert is_stopped(service.state("foo").pid)
    assert not eventually(lambda: service.state("foo").state != "starting", timeout=5.0)
    service.resume("foo", instance)
    service.wait_ready("foo", 20)
    assert service.state("foo").restarts == 0


def test_supervisor_that_leaves_lets_all_go_on(kept: ProcessSupervisor, tmp_path: Path) -> None:
    _, pid = paused(kept, SERVE)
    kept.leave()
    assert status(pid) != psutil.STATUS_STOPPED
    following = ProcessSupervisor(tmp_path / "spool", node="here")
    adopt(following, tmp_path)
    following.close()
    assert following.state("foo").state == "stopped"


def test_process_that_a_killed_supervisor_suspended_goes_on_with_the_next(
    kept: ProcessSupervisor, tmp_path: Path
) -> None:
    instance = kept.start(script("foo", SERVE))
    kept.wait_ready("foo")
    pid = kept.state("foo").pid
    kept.leave()
    psutil.Process(pid).suspend()
    assert is_stopped(pid)
    following = ProcessSupervisor(tmp_path / "spool", node="here")
    adopt(following, tmp_path)
    assert goes_on(pid)
    following.pause("foo", instance, "paused: just so")
    assert is_stopped(pid)
    following.close(grace=30)
    assert following.state("foo").reason == "was stopped"


def adopt(supervisor: ProcessSupervisor, tmp_path: Path) -> None:
    spool = find_spool(tmp_path / "spool", "foo", "default")
    assert spool is not None
    state = spool.read_state()
    assert state is not None
    supervisor.adopt(spool, state, lambda: True)
