"""Components that the fork server makes: as good as started ones, and none is lost with it."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from palm.clients import Client
from palm.registry_api.schema import ComponentSpec
from palm.runner import forking
from palm.runner.adoption import left_behind
from palm.runner.forkable import early, is_forkable, pack, unpack
from palm.runner.forking import ForkServer
from palm.runner.forkserver import MODULES
from palm.runner.service import ProcessSupervisor
from palm.runtime.folders import Folders
from tests.runner.conftest import SERVE, script
from tests.support.forks import FACTS, ROOT, CountingForks, palm, read_facts
from tests.support.leaks import processes_of
from tests.support.nodes import House

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux's")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests are about does not depend on how busy the machine is."""
    monkeypatch.setattr(forking, "PATIENCE", 20.0)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch, patience: None) -> None:
    """As it is for users."""
    monkeypatch.setattr(forking, "PATIENCE", 0.25)


@pytest.fixture
def forks() -> Iterator[CountingForks]:
    server = CountingForks()
    server.await_ready()
    yield server
    server.close()


@pytest.fixture
def service(tmp_path: Path, forks: CountingForks) -> Iterator[ProcessSupervisor]:
    supervisor = ProcessSupervisor(tmp_path / "spool", forks=forks)
    yield supervisor
    supervisor.close(grace=0.0)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[ProcessSupervisor]:
    supervisor = ProcessSupervisor(tmp_path / "plain")
    yield supervisor
    supervisor.close(grace=0.0)


def eventually(condition: Callable[[], bool], timeout: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def served(name: str) -> ComponentSpec:
    """A server that says whether it was forked."""
    source = (
        "import sys\n"
        "print('forked' if 'palm.runner.forkserver' in sys.modules else 'started', flush=True)\n"
        "def serve(payload): return payload\n"
    )
    target = Path(os.environ["PALM_RUN_DIR"]).parent / f"{name}.py"
    target.write_text(source)
    return ComponentSpec(
        name=name,
        role="server",
        argv=[sys.executable, "-m", "palm", "server", str(target), "--name", name],
        env={"PYTHONPATH": ROOT},
        generation=1,
    )


def fork_servers() -> list[int]:
    """The fork servers of this test's runner."""
    run = os.environ["PALM_RUN_DIR"]
    home = Path(run).parent
    return [each.pid for each in processes_of(home) if "palm.runner.forkserver" in each.cmdline()]


def facts(
    service: ProcessSupervisor, folder: Path, name: str = "foo", **options: Any
) -> dict[str, Any]:
    """What a component says of itself, once it was ready and has ended."""
    target, out = folder / "facts.py", folder / f"{time.monotonic_ns()}.json"
    target.write_text(FACTS)
    env = {"FACTS": str(out)} | options.pop("env", {})
    service.start(palm(name, "server", str(target), env=env, **options))
    found = read_facts(out)
    service.wait_ready(name)
    service.stop(name)
    state = service.state(name)
    assert (state.state, state.exit) == ("stopped", 0), service.last_lines(name)
    found["same"]["env"] |= {"FACTS": "", "PALM_INSTANCE": ""}
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "a folder": {"cwd": "/usr"},
    "variables": {"env": {"ZONE": "a=b\nc", "PALM_LOG_LEVEL": "DEBUG", "TZ": "Asia/Tokyo"}},
    "a path as a notebook has it": {"env": {"PYTHONPATH": os.pathsep.join([ROOT, *sys.path])}},
    "a path of its own": {"env": {"PYTHONPATH": f"/opt:{ROOT}:relative::/opt"}},
    "a link to its folder": {"cwd": "LINK"},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_forked_component_cannot_tell_that_it_was_not_started(
    service: ProcessSupervisor, plain: ProcessSupervisor, tmp_path: Path, options: dict[str, Any]
) -> None:
    link = tmp_path / "link"
    link.symlink_to("/usr")
    if options.get("cwd") == "LINK":
        options = {**options, "cwd": str(link)}
    forked = facts(service, tmp_path, **options)
    started = facts(plain, tmp_path, **options)
    assert (forked["own"]["forked"], started["own"]["forked"]) == (True, False)
    for key, value in started["same"].items():
        assert forked["same"][key] == value, key


def test_forked_components_share_nothing_that_is_random(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    found = [facts(service, tmp_path, f"foo-{i}")["own"] for i in range(3)]
    assert len(forks.forked) == 3
    for key in ("pid", "random", "uuid", "urandom", "name", "authkey"):
        assert len({each[key] for each in found}) == 3, key


def test_forked_component_is_known_by_what_it_was_given(
    service: ProcessSupervisor, tmp_path: Path
) -> None:
    found = facts(service, tmp_path, env={"MARK": "x"})
    shown = found["own"]["environ"].split("\0")
    instance = service.state("foo").instance
    assert {"MARK=x", f"PALM_INSTANCE={instance}", "PALM_COMPONENT=foo"} <= set(shown)
    # As the system has it, so do we.
    assert {k for k, _, _ in (each.partition("=") for each in shown if each)} >= set(
        found["same"]["env"]
    )


def test_forked_worker_has_nothing_left_to_load(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    source = f"import importlib, sys; [importlib.import_module(name) for name in {MODULES}]"
    source += "; import palm.runner.forkserver; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    target = tmp_path / "mine.py"
    target.write_text("import sys\ndef loaded(x): return ' '.join(sys.modules).encode()\n")
    service.start(palm("foo", "master"))
    service.start(palm("w", "worker", str(target), "--master", "foo"))
    service.wait_ready("w")
    with Client("foo", logging_level=logging.WARNING) as client:
        found = client.eval("foo.loaded", b"").decode().split()
    assert len(forks.forked) == 2
    assert set(found) - set(loaded) == {"palm_target_mine"}


MULTIPROCESSING = """
import multiprocessing, os

def square(x):
    return x * x

results = []
for method in ("fork", "spawn"):
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        results.append(pool.map(abs, [-1, 2]))
with open(os.environ["OUT"], "w") as file:
    file.write(repr(results))

def serve(payload):
    return payload
"""


def test_forked_component_may_have_processes_of_its_own(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    target, out = tmp_path / "many.py", tmp_path / "out"
    target.write_text(MULTIPROCESSING)
    service.start(palm("foo", "server", str(target), env={"OUT": str(out)}))
    service.wait_ready("foo")
    assert out.read_text() == "[[1, 2], [1, 2]]"
    assert len(forks.forked) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_end_by_a_signal_is_told_as_of_a_started_one(
    service: ProcessSupervisor, plain: ProcessSupervisor, forks: CountingForks, number: int
) -> None:
    ends = []
    for supervisor in (service, plain):
        supervisor.start(palm("foo", "master", restart="never"))
        supervisor.wait_ready("foo")
        pid = supervisor.state("foo").pid
        assert pid is not None
        os.kill(pid, number)
        assert eventually(lambda: supervisor.state("foo").state in ("failed", "stopped"))  # noqa: B023
        state = supervisor.state("foo")
        ends.append((state.state, state.exit, state.reason))
    assert ends[0] == ends[1]
    assert len(forks.forked) == 1


def test_failure_is_told_as_of_a_started_one(
    service: ProcessSupervisor, plain: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    target = tmp_path / "bad.py"
    target.write_text("def f(x):\n    return x\n\n1 / 0\n")
    broken = tmp_path / "broken.py"
    broken.write_text("import sys\nsys.exit(7)\n")
    for path in (target, broken):
        ends, texts = [], []
        for supervisor in (service, plain):
            supervisor.start(palm("foo", "server", str(path), restart="never"))
            assert eventually(lambda: supervisor.state("foo").state == "failed")  # noqa: B023
            state = supervisor.state("foo")
            ends.append((state.exit, state.reason))
            texts.append(supervisor.last_lines("foo"))
        assert ends[0] == ends[1]
        assert texts[0] == texts[1]
    assert len(forks.forked) == 2


def test_error_of_ours_is_shown_without_the_server(
    service: ProcessSupervisor, plain: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    target = tmp_path / "bad.py"
    # What the user's class does wrong in the constructor is shown with all frames.
    target.write_text(
        "from palm.servers import Server\n"
        "class Bad(Server):\n"
        "    def __init__(self, *args, **more):\n"
        "        raise RuntimeError('no')\n"
    )
    texts = []
    for supervisor in (service, plain):
        supervisor.start(palm("foo", "server", str(target), restart="never"))
        assert eventually(lambda: supervisor.state("foo").state == "failed")  # noqa: B023
        texts.append(supervisor.last_lines("foo"))
    assert "RuntimeError: no" in texts[1]
    assert texts[0] == texts[1]
    assert len(forks.forked) == 1


# What is started, since a fork would not be the same


@pytest.mark.parametrize(
    "env", [{"PYTHONHASHSEED": "1"}, {"LC_ALL": "C"}, {"LD_BIND_NOW": "1"}, {"HOME": "/"}]
)
def test_variable_that_acts_before_a_program_runs_has_it_started(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path, env: dict[str, str]
) -> None:
    found = facts(service, tmp_path, env=env)
    assert not found["own"]["forked"]
    assert (len(forks.forked), forks.started) == (0, 1)


def test_module_that_stands_in_the_way_of_a_loaded_one_has_it_started(
    service: ProcessSupervisor, plain: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "difflib.py").write_text("marked = True\nget_close_matches = None\n")
    target = tmp_path / "shadow.py"
    target.write_text("import difflib\nprint(difflib.__file__)\ndef f(x): return x\n")
    for supervisor in (service, plain):
        supervisor.start(palm("foo", "server", str(target), cwd=str(other)))
        supervisor.wait_ready("foo")
        assert f"{other / 'difflib.py'}\n" in supervisor.spool("foo").tail("stdout", 100)
        supervisor.stop("foo")
    assert forks.forked == []


def test_folder_with_the_name_of_a_module_is_in_nobodys_way(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    (tmp_path / "msgspec").mkdir()  # a folder without __init__.py, as a checkout is
    assert facts(service, tmp_path, cwd=str(tmp_path))["own"]["forked"]


def test_customization_at_the_start_of_an_interpreter_has_it_started(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    (tmp_path / "usercustomize.py").write_text("")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    assert not facts(service, tmp_path, env={"PYTHONPATH": path})["own"]["forked"]


def test_other_commands_are_started(service: ProcessSupervisor, forks: CountingForks) -> None:
    service.start(script("foo", SERVE))
    service.wait_ready("foo")
    assert forks.forked == []


def test_folder_that_is_not_there_is_complained_of_as_ever(
    service: ProcessSupervisor, forks: CountingForks
) -> None:
    service.start(palm("foo", "master", cwd="/no/such/folder", restart="never"))
    assert eventually(lambda: service.state("foo").state == "failed")
    assert (
        "could not be started: [Errno 2] No such file or directory" in service.state("foo").reason
    )
    assert forks.forked == []


def test_changed_code_has_the_server_replaced(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    # A file of the server's own environment that we may touch.
    (tmp_path / "sitecustomize.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        (tmp_path / "locale.py").write_text(
            Path(os.path.realpath(os.__file__)).with_name("locale.py").read_text()
        )
        forks.close()
        again = CountingForks()
        again.await_ready()
    supervisor = ProcessSupervisor(tmp_path / "again", forks=again)
    try:
        path = f"{tmp_path}{os.pathsep}{ROOT}"
        first = again.pid
        supervisor.start(palm("foo", "master", env={"PYTHONPATH": path}))
        supervisor.wait_ready("foo")
        with open(tmp_path / "locale.py", "a") as file:
            file.write("\nCHANGED = True\n")
        supervisor.start(palm("bar", "master", env={"PYTHONPATH": path}))
        supervisor.wait_ready("bar")
        assert again.pid not in (None, first)
    finally:
        supervisor.close(grace=0.0)
        again.close()


# The server's own faults


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_server_that_is_lost_while_many_start_costs_none_of_them(
    service: ProcessSupervisor, forks: CountingForks, number: int
) -> None:
    for i in range(20):
        service.start(palm(f"foo-{i}", "master"))
        if i == 7:
            assert eventually(lambda: len(forks.forked) + forks.started >= 4)
            forks.await_ready()
            assert forks.pid is not None
            os.kill(forks.pid, number)
    for i in range(20):
        service.wait_ready(f"foo-{i}", timeout=60)
    states = service.states()
    assert {(each.state, each.restarts) for each in states} == {("ready", 0)}
    assert len({each.pid for each in states}) == 20
    assert forks.started >= 1
    # Nobody runs twice, and nobody is left who was not wanted.
    mine = {child.pid for child in psutil.Process().children()} - {forks.pid}
    assert {each.pid for each in states} <= mine
    named = [child for child in psutil.Process().children() if "master" in child.cmdline()]
    assert len(named) == 20


def test_server_that_was_lost_is_there_again(
    service: ProcessSupervisor, forks: CountingForks
) -> None:
    assert forks.pid is not None
    os.kill(forks.pid, signal.SIGKILL)
    service.start(palm("foo", "master"))
    service.wait_ready("foo")
    assert forks.started == 1
    forks.await_ready()
    service.start(palm("bar", "master"))
    service.wait_ready("bar")
    assert len(forks.forked) == 1


@pytest.mark.usefixtures("no_patience")
def test_hung_server_holds_a_start_up_for_a_moment_only(
    service: ProcessSupervisor, forks: CountingForks
) -> None:
    assert forks.pid is not None
    hung = forks.pid
    os.kill(hung, signal.SIGSTOP)
    service.start(palm("foo", "master"))
    service.wait_ready("foo")
    assert service.state("foo").restarts == 0
    assert not psutil.pid_exists(hung)


def test_server_ends_with_its_runner_and_components_live_on(tmp_path: Path) -> None:
    source = """
import sys
from pathlib import Path
from tests.support.forks import CountingForks, palm
from palm.runner.service import ProcessSupervisor
forks = CountingForks()
forks.await_ready()
service = ProcessSupervisor(Path(sys.argv[1]), node="here", forks=forks)
service.start(palm("foo", "master"))
service.wait_ready("foo")
print(forks.pid, *forks.forked, flush=True)
sys.stdin.read()
"""
    runner = subprocess.Popen(
        [sys.executable, "-c", source, str(tmp_path / "spool")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert runner.stdout is not None and runner.stdin is not None
    server, component = map(int, runner.stdout.readline().split())
    runner.kill()
    runner.wait()
    runner.stdout.close()
    runner.stdin.close()
    assert eventually(lambda: not psutil.pid_exists(server))
    assert psutil.Process(component).status() != psutil.STATUS_ZOMBIE
    psutil.Process(component).terminate()
    assert eventually(lambda: not psutil.pid_exists(component))


def test_forked_components_are_adopted_after_a_kill_of_the_runner(house: House) -> None:
    house.runner.start()
    # By then the server is there: what is started before it would be started in the plain way.
    name = "first"
    house.client.declare("default", served(name))
    assert house.ready()
    assert eventually(lambda: bool(fork_servers()))
    house.client.declare("default", served("foo"))
    assert house.ready()
    before = {each: house.replicas(each)[0].pid for each in (name, "foo")}
    assert eventually(lambda: b"forked\n" in house.stdout("foo"))
    servers = fork_servers()
    house.runner.kill()
    assert eventually(lambda: not any(map(psutil.pid_exists, servers)))
    house.runner.start()
    assert eventually(lambda: all(house.replicas(each)[0].state == "ready" for each in before))
    assert {each: house.replicas(each)[0].pid for each in before} == before
    # Not its child, it can be ended all the same.
    house.client.stop("default", "foo")
    assert eventually(lambda: house.replicas("foo")[0].state == "stopped")


def test_forked_component_whose_start_was_not_noted_is_found(
    tmp_path: Path, forks: CountingForks
) -> None:
    folders = Folders.find()
    supervisor = ProcessSupervisor(folders.spool, node="here", forks=forks)
    supervisor.start(palm("foo", "master"))
    supervisor.wait_ready("foo")
    spool, pid = supervisor.spool("foo"), supervisor.state("foo").pid
    state = spool.read_state()
    assert state is not None and state.pid == pid and forks.forked == [pid]
    supervisor.leave()
    # As if the runner had been killed between the two.
    spool.write_state(msgspec.structs.replace(state, pid=0, identity="", state="starting"))
    ((_, found),) = left_behind(folders, "here")
    assert (found.pid, found.is_running) == (pid, True)
    os.kill(found.pid, signal.SIGTERM)
    os.waitpid(found.pid, 0)


def test_200_forks_leave_nothing(service: ProcessSupervisor, forks: CountingForks) -> None:
    def children() -> list[int]:
        # The watcher of the tests (`tests.support.session`) is one of them.
        return [child.pid for child in psutil.Process().children()]

    def fds(pid: int) -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    def start(i: int) -> None:
        service.start(palm("foo", "master", restart="never", ready_timeout=60))
        pid = None
        while pid is None:
            pid = service.state("foo").pid
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: service.state("foo").state == "failed")

    start(0)
    server = forks.pid
    assert server is not None
    before = fds(os.getpid()), fds(server), children()
    assert server in children()
    assert not set(forks.forked) & set(children())
    for i in range(1, 200):
        start(i)
    assert len(forks.forked) == 200
    assert forks.pid == server
    assert (fds(os.getpid()), fds(server), children()) == before
    assert psutil.Process(server).num_threads() == 1


def test_what_the_runner_has_by_now_components_have_too(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    first = forks.pid
    before = os.umask(0o027)
    try:
        assert facts(service, tmp_path)["same"]["umask"] == 0o027
        assert (len(forks.forked), forks.started) == (0, 1)
        forks.await_ready()
        assert forks.pid != first
        found = facts(service, tmp_path)
    finally:
        os.umask(before)
    assert (found["own"]["forked"], found["same"]["umask"]) == (True, 0o027)


def test_request_that_has_no_room_is_started_and_the_server_stays(
    service: ProcessSupervisor, forks: CountingForks, tmp_path: Path
) -> None:
    first = forks.pid
    large = {f"LARGE_{i}": "x" * 50_000 for i in range(5)}
    assert not facts(service, tmp_path, env=large)["own"]["forked"]
    assert facts(service, tmp_path, env={"LARGE": "x" * 50_000})["own"]["forked"]
    assert forks.pid == first


def test_server_without_room_for_descriptors_costs_nothing(
    service: ProcessSupervisor, forks: CountingForks
) -> None:
    first = forks.pid
    assert first is not None
    resource.prlimit(first, resource.RLIMIT_NOFILE, (6, 6))
    service.start(palm("foo", "master"))
    service.wait_ready("foo")
    assert service.state("foo").restarts == 0
    assert forks.started == 1
    forks.await_ready()
    assert forks.pid != first


def test_closed_server_forks_nothing_and_is_gone(forks: CountingForks) -> None:
    pid = forks.pid
    assert pid is not None
    forks.close()
    assert not psutil.pid_exists(pid)
    assert forks.fork([sys.executable, "-m", "palm", "master"], {}, "", (1, 2), {}) is None
    forks.start()
    assert forks.pid is None


def test_server_that_cannot_start_is_done_without(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        forks = ForkServer()
        forks.start()
    supervisor = ProcessSupervisor(tmp_path / "spool", forks=forks)
    try:
        supervisor.start(palm("foo", "master"))
        supervisor.wait_ready("foo")
    finally:
        supervisor.close(grace=0.0)
        forks.close()


# The rules


PYTHON = "/usr/bin/python3"


@pytest.mark.parametrize("command", ["hub", "master", "pipeline", "server", "sink", "worker"])
def test_components_of_the_same_interpreter_are_forkable(command: str) -> None:
    assert is_forkable([PYTHON, "-m", "palm", command, "x"], {"A": "b"}, PYTHON, {})


@pytest.mark.parametrize(
    "argv",
    [
        ["/other/python", "-m", "palm", "worker"],
        [PYTHON, "-X", "dev", "-m", "palm", "worker"],
        [PYTHON, "-m", "palm.runner.kernel", "worker"],
        [PYTHON, "-m", "palm", "runner"],
        [PYTHON, "-m", "palm"],
        [PYTHON, "-m", "palm", "worker", "\0"],
        ["true"],
    ],
)
def test_all_else_is_not_forkable(argv: list[str]) -> None:
    assert not is_forkable(argv, {}, PYTHON, {})


def test_only_what_acts_at_the_start_must_be_the_same() -> None:
    argv = [PYTHON, "-m", "palm", "worker"]
    assert is_forkable(argv, {"PYTHONPATH": "/a", "X": "1"}, PYTHON, {"PYTHONPATH": "/b"})
    assert is_forkable(argv, {"LANG": "C"}, PYTHON, {"LANG": "C"})
    assert not is_forkable(argv, {"LANG": "C"}, PYTHON, {})
    assert not is_forkable(argv, {}, PYTHON, {"PYTHONDEVMODE": "1"})
    assert early({"PYTHONPATH": "x", "PATH": "y", "LD_PRELOAD": "z"}) == {"LD_PRELOAD": "z"}


def test_request_is_read_as_it_was_made() -> None:
    argv, environment = ["a", "", "ü\udcff"], {"K": "v=w\n", "E": ""}
    found = unpack(pack(argv, environment, "/f", ["P", "Q"]))
    assert found.argv == [b"a", b"", "ü".encode() + b"\xff"]
    assert found.environment == {b"K": b"v=w\n", b"E": b""}
    assert (found.folder, found.pipes) == (b"/f", [b"P", b"Q"])
