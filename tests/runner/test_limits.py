"""Limits of components, over real processes."""

from __future__ import annotations

import resource

import pytest

from palm.runner import limiting
from palm.runner.service import ProcessSupervisor
from palm.spec.limits import Limits
from palm.spec.process import ProcessSpec, StartFailed
from tests.runner.conftest import PROLOGUE, SERVE, script
from tests.support.nodes import eventually

READ = "import sys, resource as r\nfor n in ('NOFILE', 'CORE', 'FSIZE', 'CPU'):"
READ += "\n    print(n, *r.getrlimit(getattr(r, 'RLIMIT_' + n)), flush=True)\n"


def test_limits_hold_from_the_first_instruction(service: ProcessSupervisor) -> None:
    limits = Limits(open_files=64, core_size=0, file_size=10 << 20, cpu_time=60)
    service.start(script("foo", READ + PROLOGUE + "notify_ready(); stop.wait(60)", limits=limits))
    service.wait_ready("foo")
    said = service.spool("foo").tail("stdout", 9).splitlines()
    size = 10 << 20
    assert said == ["NOFILE 64 64", "CORE 0 0", f"FSIZE {size} {size}", "CPU 60 65"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64  # ours are as they were


def test_process_within_limits_is_the_command_itself(service: ProcessSupervisor) -> None:
    odd = ["; exit 3", "$(exit 4)", "a b", "", "\u00e9", "-x", "'\""]
    source = "import os, sys\nprint(os.getpid(), sys.argv[1:], flush=True)\n"
    spec = script("foo", source + PROLOGUE + "notify_ready(); stop.wait(60)")
    argv = (*spec.argv, *odd)
    service.start(
        ProcessSpec("foo", argv, env={**spec.env, "ODD": "$(x)"}, limits=Limits(open_files=64))
    )
    service.wait_ready("foo")
    assert service.spool("foo").tail("stdout", 1) == f"{service.state('foo').pid} {odd}\n"


@pytest.mark.parametrize(
    ("argv", "cwd"),
    [(("/no/such/program",), ""), (("no-such-program",), ""), (("true",), "/no/such/folder")],
)
def test_missing_program_is_told_as_without_limits(
    service: ProcessSupervisor, argv: tuple[str, ...], cwd: str
) -> None:
    service.start(ProcessSpec("foo", argv, cwd=cwd, limits=Limits(open_files=64)))
    with pytest.raises(StartFailed, match=r"could not be started: .*No such file"):
        service.wait_ready("foo", timeout=20)


def test_limit_that_the_node_does_not_allow_is_told(
    service: ProcessSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiting, "_may_raise", lambda: False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    service.start(ProcessSpec("foo", ("true",), limits=Limits(open_files=hard + 1)))
    with pytest.raises(StartFailed, match=f"and this node allows {hard}"):
        service.wait_ready("foo", timeout=20)


def test_component_that_uses_too_much_memory_is_ended_and_started_again(
    service: ProcessSupervisor,
) -> None:
    source = PROLOGUE + "notify_ready(); stop.wait(1.0); held = bytearray(200 << 20)\n"
    source += "held[::4096] = b'x' * len(held[::4096]); stop.wait(60)\n"
    service.start(script("foo", source, limits=Limits(memory=100 << 20)))
    service.wait_ready("foo")
    reasons = []
    service.subscribe(lambda state: reasons.append((state.state, state.reason)))
    assert eventually(lambda: service.state("foo").restarts == 1)
    (said,) = [reason for state, reason in reasons if state == "backing-off"]
    assert said.startswith("used 2")
    assert said.endswith("M of memory, its limit is 100M")


def test_memory_of_what_a_component_started_counts_too(service: ProcessSupervisor) -> None:
    child = "held = bytearray(150 << 20); held[::4096] = b'x' * len(held[::4096]);"
    child += " import time; time.sleep(60)"
    source = PROLOGUE + f"subprocess.Popen([sys.executable, '-c', {child!r}], env={{}},"
    source += " start_new_session=True)\nnotify_ready(); stop.wait(60)\n"
    service.start(script("foo", source, limits=Limits(memory=100 << 20), restart="never"))
    assert eventually(lambda: service.state("foo").state == "failed")
    assert "of memory, its limit is 100M" in service.state("foo").reason


def test_component_with_too_many_processes_is_ended(service: ProcessSupervisor) -> None:
    source = PROLOGUE + "notify_ready()\nfor _ in range(5): subprocess.Popen(['sleep', '60'])\n"
    service.start(
        script("foo", source + "stop.wait(60)", limits=Limits(processes=3), restart="never")
    )
    assert eventually(lambda: service.state("foo").state == "failed")
    assert service.state("foo").reason == "had 6 processes, its limit is 3"


def test_time_of_processors_that_is_used_up_is_told(service: ProcessSupervisor) -> None:
    source = PROLOGUE + "notify_ready()\nwhile True: pass\n"
    service.start(script("foo", source, limits=Limits(cpu_time=1), restart="never"))
    assert eventually(lambda: service.state("foo").state == "failed")
    assert "SIGXCPU (it used up the processor time of its limits)" in service.state("foo").reason


def test_without_such_limits_nobody_looks(service: ProcessSupervisor) -> None:
    service.start(script("foo", SERVE, limits=Limits(open_files=64)))
    service.wait_ready("foo")
    assert service._limits.next_look() is None
