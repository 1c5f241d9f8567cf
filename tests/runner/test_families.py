"""Nothing that a component started is left behind, wherever it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runner.background import Background
from palm.runner.families import Families
from palm.runner.service import ProcessSupervisor
from palm.runtime.processes import lives, read_processes, with_descendants
from palm.runtime.records import is_running
from tests.runner.conftest import PROLOGUE, SERVE, script
from tests.support.nodes import House, component, eventually

#: A daemon by the book: a session of its own, and a parent that is gone.
DAEMON = """
def daemon(program):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execv(sys.executable, [sys.executable, "-c", program])
    os.wait()
def say(): return "import os; print('daemon', os.getpid(), flush=True); "
"""
SLEEP = "import time; time.sleep(60)"


def daemon_of(service: ProcessSupervisor, name: str) -> int:
    """The pid that a daemon wrote into the output of its component."""
    spool = service.spool(name)
    # Its output is unbuffered, and `print` writes a line in pieces.
    assert eventually(lambda: spool.read("stdout", 0, 1000).endswith(b"\n"))
    return int(spool.tail("stdout", 1).removeprefix("daemon "))


def runs(pid: int) -> bool:
    row = read_processes().get(pid)
    return row is not None and lives(row)


@pytest.fixture
def source() -> str:
    return PROLOGUE + DAEMON + f"daemon(say() + {SLEEP!r})\nnotify_ready(); stop.wait(60)\n"


def test_daemon_of_a_component_ends_with_it(service: ProcessSupervisor, source: str) -> None:
    service.start(script("foo", source))
    service.wait_ready("foo")
    daemon = daemon_of(service, "foo")
    assert os.getsid(daemon) != service.state("foo").pid
    service.stop("foo")
    assert not runs(daemon)
    assert service.state("foo").reason == "was stopped"


def test_daemon_of_a_component_that_is_killed_does_not_outlive_it(
    service: ProcessSupervisor, source: str
) -> None:
    service.start(script("foo", source, restart="never"))
    service.wait_ready("foo")
    daemon, pid = daemon_of(service, "foo"), service.state("foo").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: service.state("foo").state == "failed")
    assert eventually(lambda: not runs(daemon), 2.0)


def test_daemon_gets_the_rest_of_the_grace_to_end_well(service: ProcessSupervisor) -> None:
    careful = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5),"
        " print('saved', flush=True), sys.exit())); " + "print('daemon', __import__('os').getpid(),"
        " flush=True); time.sleep(60)"
    )
    source = PROLOGUE + DAEMON + f"daemon({careful!r})\nnotify_ready(); stop.wait(60)\n"
    service.start(script("foo", source))
    service.wait_ready("foo")
    daemon = daemon_of(service, "foo")
    service.stop("foo", grace=10.0)
    assert service.spool("foo").tail("stdout", 1) == "saved\n"
    assert not runs(daemon)


def test_daemon_that_ignores_the_signal_is_killed_when_the_grace_is_over(
    service: ProcessSupervisor,
) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    source = PROLOGUE + DAEMON + f"daemon({deaf!r} + say() + {SLEEP!r})\n"
    service.start(script("foo", source + "notify_ready(); stop.wait(60)\n"))
    service.wait_ready("foo")
    daemon = daemon_of(service, "foo")
    begun = time.monotonic()
    service.stop("foo", grace=0.5)
    assert 0.5 <= time.monotonic() - begun < 5.0
    assert not runs(daemon)
    assert "within its grace" in service.state("foo").reason


def test_child_in_a_session_of_its_own_without_the_mark_ends_too(
    service: ProcessSupervisor,
) -> None:
    source = PROLOGUE + (
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env={{}},"
        " start_new_session=True)\n"
        "print('daemon', child.pid, flush=True); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "notify_ready(); time.sleep(60)\n"
    )
    service.start(script("foo", source))
    service.wait_ready("foo")
    child = daemon_of(service, "foo")
    service.stop("foo", grace=0.2)
    assert eventually(lambda: not runs(child), 2.0)


def test_what_is_left_to_itself_on_purpose_lives_on(
    service: ProcessSupervisor, tmp_path: Path
) -> None:
    source = PROLOGUE + (
        "from pathlib import Path\n"
        "from palm.runner.background import Background\n"
        f"found = Background.start([sys.executable, '-c', {SLEEP!r}], Path({str(tmp_path)!r})"
        f" / 'log', Path({str(tmp_path)!r}))\n"
        "print('daemon', found.pid, flush=True); notify_ready(); stop.wait(60)\n"
    )
    service.start(script("foo", source))
    service.wait_ready("foo")
    other = daemon_of(service, "foo")
    try:
        service.stop("foo")
        time.sleep(0.1)
        assert runs(other)
    finally:
        os.kill(other, signal.SIGKILL)
        assert eventually(lambda: not runs(other))


def test_processes_of_other_components_are_no_family(service: ProcessSupervisor) -> None:
    for name in ("foo", "bar"):
        service.start(script(name, SERVE))
    for name in ("foo", "bar"):
        service.wait_ready(name)
    service.stop("foo")
    assert service.state("bar").state == "ready"
    assert service.state("bar").restarts == 0


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    found = [subprocess.Popen(["sleep", "60"]) for _ in range(200)]
    yield found
    for each in found:
        each.kill()
        each.wait()


def test_many_ends_at_once_are_looked_at_once(sleepers: list[subprocess.Popen[bytes]]) -> None:
    families = Families()
    since = time.monotonic()
    families.look(since)
    begun = time.process_time()
    for each in sleepers:
        families.look(since)
        assert [row.pid for row in families.of(each.pid, "", "none.1")] == [each.pid]
    assert time.process_time() - begun < 1.0  # 0.1 s where the machine is idle


def test_descendants_are_found_through_every_generation() -> None:
    program = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        try:
            assert eventually(lambda: len(with_descendants(read_processes(), [parent.pid])) == 2)
            assert parent.pid in with_descendants(read_processes(), [os.getpid()])
        finally:
            for pid in with_descendants(read_processes(), [parent.pid]):
                os.kill(pid, signal.SIGKILL)


# Over the death of a runner


def test_daemon_of_an_adopted_component_ends_with_it(house: House, source: str) -> None:
    daemon = _declare(house, source)
    house.runner.kill()
    assert runs(daemon)
    house.runner.start()
    assert house.ready()
    house.client.stop("default", "foo")
    assert eventually(lambda: house.replicas("foo")[0].state == "stopped")
    assert not runs(daemon)


def test_component_that_died_without_a_runner_leaves_no_daemon(house: House, source: str) -> None:
    daemon = _declare(house, source)
    before = house.replicas("foo")[0]
    house.runner.kill()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    house.runner.start()
    assert eventually(lambda: house.replicas("foo")[0].pid not in (None, before.pid))
    assert not runs(daemon)
    assert house.ready()
    # Its successor is the program, and not the daemon that has the same mark.
    now = house.replicas("foo")[0]
    assert now.pid not in (before.pid, daemon)


def _declare(house: House, source: str) -> int:
    house.runner.start()
    house.client.declare("default", component("foo", source, ready="log:daemon"))
    assert house.ready()
    assert eventually(lambda: b"daemon" in house.stdout("foo"))
    return int(house.stdout("foo").split()[1])


def test_background_process_is_part_of_no_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALM_INSTANCE", "foo.123456")
    monkeypatch.setenv("PALM_COMPONENT", "foo")
    program = "import os; print([k for k in os.environ if k.startswith('PALM_') and os.environ[k]])"
    found = Background.start(
        [sys.executable, "-c", program], tmp_path / "log", tmp_path, {"PALM_X": "1"}
    )
    assert eventually(lambda: not is_running(found.pid, found.start_time))
    said = (tmp_path / "log").read_text()
    assert "PALM_X" in said
    assert "PALM_INSTANCE" not in said
    assert "PALM_COMPONENT" not in said
