"""The supervisor over real processes."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from palm.errors import ConfigError, PalmError
from palm.runner import watch
from palm.runner.service import ProcessSupervisor
from palm.runner.spool import find_spool
from palm.spec.process import ProcessSpec, ProcessState, StartFailed
from tests.runner.conftest import PROLOGUE, ROOT, SERVE, STUBBORN, exists, script

GRANDCHILD = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""


def eventually(condition: Callable[[], bool], timeout: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def running_pid(service: ProcessSupervisor, name: str) -> int:
    pid = service.state(name).pid
    assert pid is not None
    return pid


def test_component_is_started_waited_for_and_stopped(service: ProcessSupervisor) -> None:
    instance = service.start(script("foo", SERVE, role="master"))
    service.wait_ready("foo")
    state = service.state("foo")
    assert (state.name, state.role, state.state) == ("foo", "master", "ready")
    assert state.instance == instance == Path(state.spool).name
    pid = running_pid(service, "foo")
    assert service.spool("foo").tail("stdout", 1) == f"up {pid}\n"
    service.stop("foo")
    state = service.state("foo")
    assert (state.state, state.exit, state.pid, state.reason) == ("stopped", 0, None, "was stopped")
    assert not exists(pid)


def test_start_returns_before_the_component_is_ready(service: ProcessSupervisor) -> None:
    service.start(script("foo", PROLOGUE + "stop.wait(60)"))
    assert service.state("foo").state == "starting"
    with pytest.raises(StartFailed) as caught:
        service.wait_ready("foo", timeout=0.2)
    assert caught.value.timed_out
    assert "foo did not become ready: it was not ready within 0.2 s" in str(caught.value)
    assert service.state("foo").state == "starting"


def test_many_are_started_at_the_same_time(service: ProcessSupervisor) -> None:
    for i in range(8):
        service.start(script(f"foo-{i}", SERVE))
    for i in range(8):
        service.wait_ready(f"foo-{i}")
    assert [each.name for each in service.states()] == [f"foo-{i}" for i in range(8)]
    assert len({each.pid for each in service.states()}) == 8
    service.stop_all()
    assert {each.state for each in service.states()} == {"stopped"}


def test_failed_start_tells_the_exit_code_and_the_last_error_lines(
    service: ProcessSupervisor,
) -> None:
    source = "import sys\nfor i in range(50): print('line', i, file=sys.stderr)\n1 / 0\n"
    service.start(script("foo", source))
    with pytest.raises(StartFailed) as caught:
        service.wait_ready("foo", timeout=20)
    error = caught.value
    assert error.name == "foo"
    assert error.reason == "ended with exit code 1 before it was ready"
    assert not error.timed_out
    assert error.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "line 49" in error.stderr
    assert "line 10\n" not in error.stderr
    assert str(error).startswith("foo did not become ready: it ended with exit code 1")
    service.stop("foo")


def test_failed_start_tells_the_signal(service: ProcessSupervisor) -> None:
    service.start(script("foo", "import os; os.abort()", restart="never"))
    with pytest.raises(StartFailed, match=r"was killed by SIGABRT \(aborted\) before it was ready"):
        service.wait_ready("foo", timeout=20)
    assert service.state("foo").state == "failed"
    assert service.state("foo").exit == -signal.SIGABRT


def test_end_without_having_been_ready_is_a_failed_start(service: ProcessSupervisor) -> None:
    service.start(script("foo", "pass"))
    with pytest.raises(StartFailed, match="ended with exit code 0 before it was ready"):
        service.wait_ready("foo", timeout=20)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (ProcessSpec("foo", ("/no/such/program",)), "could not be started: .*No such file"),
        (ProcessSpec("foo", ("true",), cwd="/no/such/folder"), "could not be started: .*folder"),
        (ProcessSpec("foo", ("true\0",)), "could not be started: embedded null byte"),
    ],
)
def test_what_cannot_be_started_says_why(
    service: ProcessSupervisor, spec: ProcessSpec, text: str
) -> None:
    service.start(spec)
    with pytest.raises(StartFailed, match=text):
        service.wait_ready("foo", timeout=20)
    service.stop("foo")
    assert service.state("foo").state == "stopped"


def test_one_bad_component_does_not_touch_the_others(service: ProcessSupervisor) -> None:
    service.start(script("good", SERVE))
    service.start(ProcessSpec("bad", ("/no/such/program",)))
    service.wait_ready("good")
    with pytest.raises(StartFailed):
        service.wait_ready("bad")
    assert service.state("good").state == "ready"


def test_too_slow_a_start_is_ended(service: ProcessSupervisor) -> None:
    source = PROLOGUE + "print('why', file=sys.stderr, flush=True); stop.wait(60)"
    service.start(script("foo", source, ready_timeout=1.0, restart="never"))
    with pytest.raises(StartFailed, match=r"was not ready within 1 s") as caught:
        service.wait_ready("foo", timeout=20)
    assert caught.value.timed_out
    assert caught.value.stderr == "why\n"
    assert eventually(lambda: service.state("foo").state == "failed")


def test_killed_component_is_started_again_and_keeps_its_output(
    service: ProcessSupervisor,
) -> None:
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    first = running_pid(service, "foo")
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: service.state("foo").restarts == 1)
    service.wait_ready("foo")
    second = running_pid(service, "foo")
    assert service.state("foo").exit == -signal.SIGKILL
    assert service.spool("foo").tail("stdout", 9) == f"up {first}\nup {second}\n"


def test_component_that_ends_well_is_not_started_again(service: ProcessSupervisor) -> None:
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    os.kill(running_pid(service, "foo"), signal.SIGTERM)
    assert eventually(lambda: service.state("foo").state == "stopped")
    assert service.state("foo").reason == "ended with exit code 0"


def test_component_that_ignores_sigterm_is_killed_after_its_grace(
    service: ProcessSupervisor,
) -> None:
    service.start(script("foo", STUBBORN))
    service.wait_ready("foo")
    pid = running_pid(service, "foo")
    start = time.monotonic()
    service.stop("foo", grace=0.3)
    assert 0.3 <= time.monotonic() - start < 5.0
    assert not exists(pid)
    assert service.state("foo").exit == -signal.SIGKILL
    assert "within its grace" in service.state("foo").reason


def test_grandchildren_end_with_the_component(service: ProcessSupervisor) -> None:
    service.start(script("foo", PROLOGUE + GRANDCHILD + "notify_ready(); stop.wait(60)"))
    service.wait_ready("foo")
    grandchild = int(service.spool("foo").tail("stdout", 1))
    assert exists(grandchild)
    service.stop("foo")
    assert eventually(lambda: not _runs(grandchild))


def test_grandchildren_end_when_the_component_crashes(service: ProcessSupervisor) -> None:
    source = PROLOGUE + GRANDCHILD + "notify_ready(); os._exit(3)"
    service.start(script("foo", source, restart="never"))
    assert eventually(lambda: service.state("foo").state == "failed")
    grandchild = int(service.spool("foo").tail("stdout", 1))
    assert eventually(lambda: not _runs(grandchild))


def test_restart_gives_a_new_process_in_the_same_spool(service: ProcessSupervisor) -> None:
    instance = service.start(script("foo", SERVE))
    service.wait_ready("foo")
    first = running_pid(service, "foo")
    service.restart("foo")
    service.wait_ready("foo")
    assert running_pid(service, "foo") != first
    assert not exists(first)
    assert service.state("foo").instance == instance


def test_signal_reaches_a_process_that_runs(service: ProcessSupervisor) -> None:
    source = PROLOGUE + "signal.signal(signal.SIGUSR1, lambda *_: print('one', flush=True))\n" + (
        "notify_ready(); stop.wait(60)\n"
    )  # fmt: skip
    service.start(script("foo", source))
    service.wait_ready("foo")
    service.signal("foo", "SIGUSR1")
    assert eventually(lambda: service.spool("foo").tail("stdout", 1) == "one\n")
    service.stop("foo")
    service.signal("foo", "SIGUSR1")  # nothing is there to take it
    assert service.state("foo").state == "stopped"


def test_name_in_use_is_refused_and_a_stopped_one_may_be_used_again(
    service: ProcessSupervisor,
) -> None:
    first = service.start(script("foo", SERVE))
    service.wait_ready("foo")
    with pytest.raises(ConfigError, match="already runs"):
        service.start(script("foo", SERVE))
    with pytest.raises(ConfigError, match="stop it first"):
        service.discard("foo")
    service.stop("foo")
    assert service.start(script("foo", SERVE)) != first
    service.wait_ready("foo")
    service.stop("foo")
    service.discard("foo")
    assert service.states() == []


def test_unknown_name_is_refused_with_the_nearest(service: ProcessSupervisor) -> None:
    service.start(script("worker-0", SERVE))
    with pytest.raises(ConfigError, match=r"'wroker-0'.*did you mean 'worker-0'\?"):
        service.stop("wroker-0")


def test_environment_of_a_component(
    service: ProcessSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("FROM_PARENT", "yes")
    monkeypatch.setenv("PALM_MASTER", "chosen-by-the-user")
    source = SERVE.replace("'up', os.getpid()", "__import__('json').dumps(dict(os.environ))")
    instance = service.start(script("foo", source, env={"MINE": "1", "PALM_REPLICA": "3"}))
    service.wait_ready("foo")
    env = json.loads(service.spool("foo").tail("stdout", 1))
    assert "JPY_PARENT_PID" not in env
    assert "PALM_READY_FD" not in env
    assert "PALM_TIE_FD" not in env
    expected = {
        "FROM_PARENT": "yes",
        "MINE": "1",
        "PALM_COMPONENT": "foo",
        "PALM_INSTANCE": instance,
        "PALM_MASTER": "chosen-by-the-user",
        "PALM_REPLICA": "3",
        "PYTHONUNBUFFERED": "1",
    }
    assert expected.items() <= env.items()


def test_component_has_a_session_of_its_own_no_stdin_and_no_foreign_files(
    service: ProcessSupervisor, tmp_path: Path
) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        source = SERVE.replace(
            "'up', os.getpid()",
            "os.getsid(0) == os.getpid(), repr(sys.stdin.read()),"
            "[fd for fd in range(3, 200) if os.path.exists(f'/proc/self/fd/{fd}')]",
        )
        service.start(script("foo", source))
        service.wait_ready("foo")
    session, stdin, files = service.spool("foo").tail("stdout", 1).split(" ", 2)
    assert (session, stdin) == ("True", "''")
    assert len(json.loads(files)) <= 2  # the tie and the ready pipe


def test_interrupt_of_the_parent_group_does_not_reach_components(tmp_path: Path) -> None:
    parent = _supervise_elsewhere(tmp_path, SERVE, new_group=True)
    pid = int(parent.stdout.readline())  # type: ignore[union-attr]
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.stdout.readline() == "interrupted\n"  # type: ignore[union-attr]
    assert exists(pid)
    parent.kill()
    parent.communicate()
    assert eventually(lambda: not _runs(pid))


@pytest.mark.parametrize("source", [SERVE, STUBBORN], ids=["idle", "busy"])
def test_kill_of_the_supervising_process_ends_its_components(tmp_path: Path, source: str) -> None:
    parent = _supervise_elsewhere(tmp_path, source)
    pid = int(parent.stdout.readline())  # type: ignore[union-attr]
    assert exists(pid)
    parent.kill()
    parent.communicate()
    assert eventually(lambda: not _runs(pid))


def test_forked_child_of_the_supervising_process_does_not_keep_components_alive(
    tmp_path: Path,
) -> None:
    fork = "child = os.fork()\nif child == 0: time.sleep(60); os._exit(0)\nprint(child, flush=True)"
    parent = _supervise_elsewhere(tmp_path, SERVE, then=fork)
    assert parent.stdout is not None
    pid, fork_pid = int(parent.stdout.readline()), int(parent.stdout.readline())
    parent.kill()
    try:
        assert eventually(lambda: not _runs(pid))
    finally:
        os.kill(fork_pid, signal.SIGKILL)
        parent.communicate()


def test_subscribers_see_every_state_in_order(service: ProcessSupervisor) -> None:
    seen: queue.Queue[ProcessState] = queue.Queue()
    unsubscribe = service.subscribe(seen.put)
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    service.stop("foo")
    states = []
    while not states or states[-1] != "stopped":
        states.append(seen.get(timeout=20).state)
    assert list(dict.fromkeys(states)) == ["starting", "ready", "stopping", "stopped"]
    unsubscribe()
    unsubscribe()
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    assert seen.empty()


def test_subscriber_that_raises_is_dropped_and_the_rest_goes_on(
    service: ProcessSupervisor, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def bad(state: ProcessState) -> None:
        calls.append(state)
        raise LookupError("of its own")

    service.subscribe(bad)
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    service.stop("foo")
    service.close()
    assert len(calls) == 1
    assert "of its own" in caplog.text


def test_subscriber_that_waits_is_refused_rather_than_blocking(
    service: ProcessSupervisor, caplog: pytest.LogCaptureFixture
) -> None:
    service.subscribe(lambda state: service.stop(state.name))
    service.start(script("foo", SERVE))
    assert eventually(lambda: "cannot wait" in caplog.text)


def children() -> set[int]:
    """Pids of this process's children, zombies included."""
    return {child.pid for child in psutil.Process().children()}


def test_close_ends_all_and_the_thread_and_may_be_repeated(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    descriptors, offspring = len(os.listdir("/proc/self/fd")), children()
    service = ProcessSupervisor(tmp_path / "spool")
    for i in range(3):
        service.start(script(f"foo-{i}", SERVE))
    for i in range(3):
        service.wait_ready(f"foo-{i}")
    assert {t.name for t in set(threading.enumerate()) - before} == {"palm-supervisor"}
    service.close()
    service.close()
    assert set(threading.enumerate()) == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert children() == offspring
    with pytest.raises(PalmError, match="closed"):
        service.start(script("foo", SERVE))


def test_close_ends_the_waiting_of_others(service: ProcessSupervisor) -> None:
    service.start(script("foo", PROLOGUE + "stop.wait(60)"))
    failed: list[str] = []

    def wait() -> None:
        try:
            service.wait_ready("foo", timeout=60)
        except StartFailed as error:
            failed.append(error.reason)

    waiter = threading.Thread(target=wait)
    waiter.start()
    service.close(grace=5.0)
    waiter.join(20)
    assert failed == ["was stopped"] or failed[0].startswith("was ended by")


def test_no_thread_runs_before_the_first_start(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    service = ProcessSupervisor(tmp_path / "spool")
    service.stop_all()
    assert set(threading.enumerate()) == before
    service.close()


def test_spool_tells_the_end(service: ProcessSupervisor, tmp_path: Path) -> None:
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    spool = find_spool(tmp_path / "spool", "foo", "default")
    assert spool is not None
    state = spool.read_state()
    assert state is not None
    assert state.is_running
    assert state.pid == running_pid(service, "foo")
    service.stop("foo")
    state = spool.read_state()
    assert state is not None
    assert (state.is_running, state.exit, state.state) == (False, 0, "stopped")
    assert state.reason == "was stopped"


def test_without_pidfd_children_are_polled(
    service: ProcessSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_open_pidfd", lambda pid: None)
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    os.kill(running_pid(service, "foo"), signal.SIGKILL)
    assert eventually(lambda: service.state("foo").restarts == 1)
    service.wait_ready("foo")
    service.stop("foo")
    assert service.state("foo").exit == 0


def test_someone_else_who_waits_for_our_child_does_no_harm(service: ProcessSupervisor) -> None:
    service.start(script("foo", SERVE, restart="never"))
    service.wait_ready("foo")
    pid = running_pid(service, "foo")
    other = threading.Thread(target=_wait_for_child, args=(pid,))
    other.start()
    os.kill(pid, signal.SIGKILL)
    other.join(20)
    assert eventually(lambda: service.state("foo").pid is None)


def test_start_failed_survives_pickling() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(StartFailed("foo", "ended", "line", timed_out=True)))
    assert (error.name, error.reason, error.stderr, error.timed_out) == (
        "foo",
        "ended",
        "line",
        True,
    )


def test_multiprocessing_child_of_a_component_is_not_left(service: ProcessSupervisor) -> None:
    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork", "spawn")
    source = PROLOGUE + (
        "import multiprocessing\n"
        "p = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "p.start(); print(p.pid, flush=True); notify_ready(); stop.wait(60); os._exit(0)\n"
    )
    service.start(script("foo", source))
    service.wait_ready("foo")
    child = int(service.spool("foo").tail("stdout", 1))
    service.stop("foo")
    assert eventually(lambda: not _runs(child))


def _wait_for_child(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # the supervisor was the first
        os.waitpid(pid, 0)


def _runs(pid: int) -> bool:
    """Whether a process, not of ours, runs; an orphan's zombie does not."""
    from palm.runtime.records import is_running, process_start_time

    start = process_start_time(pid)
    return start is not None and is_running(pid, start)


def _supervise_elsewhere(
    tmp_path: Path, source: str, *, then: str = "", new_group: bool = False
) -> subprocess.Popen[str]:
    """Another process with a supervisor and one component, whose pid it prints."""
    program = f"""
import os, pathlib, sys, time
from palm.runner.service import ProcessSupervisor
from palm.spec.process import ProcessSpec
service = ProcessSupervisor(pathlib.Path({str(tmp_path / "spool")!r}))
service.start(ProcessSpec("foo", (sys.executable, "-c", {source!r})))
service.wait_ready("foo")
told = False
while True:
    try:  # an interrupt may come as soon as the pid is told
        if not told:
            told = True
            print(service.state("foo").pid, flush=True)
            exec({then!r})
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": ROOT},
        process_group=0 if new_group else None,
    )
