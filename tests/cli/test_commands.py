"""The commands in real processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palm._version import __version__
from palm.runtime.records import process_start_time
from tests.cli.conftest import WORK, Shell, wait_for_line


def test_version(shell: Shell) -> None:
    assert shell.palm("version").stdout == f"palm {__version__}\n"
    assert shell.palm("--version").stdout == f"palm {__version__}\n"
    assert json.loads(shell.palm("--json", "version").stdout) == {"palm": __version__}


def test_usage_errors_are_one_sentence(shell: Shell) -> None:
    done = shell.palm("stauts", code=2)
    assert done.stderr == "palm: no such command: stauts; did you mean status? (see palm --help)\n"
    assert done.stdout == ""


def test_empty_cluster(shell: Shell) -> None:
    assert shell.palm("status").stdout == "nothing runs in cluster 'default'\n"
    assert shell.palm("status", "--cluster", "c").stdout == "nothing runs in cluster 'c'\n"
    assert shell.palm("stop", "--all").stdout == "nothing runs in cluster 'default'\n"
    done = shell.palm("logs", "foo", code=3)
    assert done.stderr == "palm: no component named 'foo' in cluster 'default'\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_foreground_master_logs_and_ends_cleanly(shell: Shell, number: signal.Signals) -> None:
    master = shell.start("master", "--name", "foo")
    assert "- foo - INFO - ready" in wait_for_line(master, "ready")
    assert [component["name"] for component in shell.status()] == ["foo"]
    os.killpg(master.pid, number)
    _, err = master.communicate(timeout=30)
    assert master.returncode == 0, err
    assert err == ""
    assert shell.status() == []


@pytest.mark.slow
def test_foreground_component_has_no_spool_and_logs_say_so(shell: Shell) -> None:
    master = shell.start("master", "--name", "foo")
    wait_for_line(master, "ready")
    done = shell.palm("logs", "foo", code=1)
    assert done.stderr == (
        f"palm: foo (pid {master.pid}) was started in a shell: its output is there,"
        " and palm keeps none\n"
    )


@pytest.mark.slow
def test_background_components_from_start_to_stop(shell: Shell) -> None:
    done = shell.palm("master", "--name", "foo", "-d")
    master = shell.status()[0]
    assert done.stdout == f"foo is ready (pid {master['pid']}); see palm logs foo\n"
    target = shell.write("work.py", WORK)
    done = shell.palm("--json", "worker", target, "--master", "foo", "--name", "w", "-d")
    worker = next(each for each in shell.status() if each["name"] == "w")
    assert json.loads(done.stdout).items() <= worker.items()
    assert worker["functions"] == ["double"]
    assert worker["master"] == "foo"

    plain = shell.palm("status").stdout.splitlines()
    assert plain[0].split() == ["NAME", "ROLE", "PID", "UP", "MASTER", "FUNCTIONS"]
    assert plain[1].split()[:3] == ["foo", "master", str(master["pid"])]
    assert plain[2].split()[0] == "w"

    for pid in (int(str(master["pid"])), int(str(worker["pid"]))):
        assert os.getsid(pid) == pid  # nothing that happens to a shell's session reaches it

    client = (
        "from palm.clients import Client\nwith Client('foo') as c: print(c.eval('foo.double', 4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", client], capture_output=True, text=True, env=shell.env, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "8", done.stderr
    assert "doubling 4\n" in shell.palm("logs", "w").stdout
    assert shell.palm("logs", "w", "--grep", "doubling", "-n", "1").stdout == "doubling 4\n"
    lines = shell.palm("--json", "logs", "w", "--grep", "doubling").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"stream": "stdout", "text": "doubling 4"}]

    done = shell.palm("stop", "fo", code=3)
    assert done.stderr == "palm: no component named 'fo' in cluster 'default'; did you mean foo?\n"
    assert shell.palm("stop", "--all").stdout == "stopped foo, w\n"
    assert shell.status() == []
    assert process_start_time(int(str(master["pid"]))) is None or not _runs(master)
    assert "stopped" in shell.palm("logs", "foo").stdout  # the output of what is gone stays


def _runs(component: dict[str, object]) -> bool:
    stat = Path(f"/proc/{component['pid']}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_background_start_that_fails_shows_why(shell: Shell) -> None:
    target = shell.write("work.py", "def f(x): pass\nraise RuntimeError('no luck')\n")
    done = shell.palm("worker", target, "--master", "foo", "--name", "w", "-d", code=1)
    assert "w did not become ready: it ended with exit code 1 before it was ready" in done.stderr
    assert "RuntimeError: no luck" in done.stderr
    assert "worker.py" not in done.stderr  # our own frames say nothing
    assert "palm logs" not in done.stdout


@pytest.mark.slow
def test_background_start_that_is_too_slow_is_ended(shell: Shell) -> None:
    target = shell.write("work.py", "import os\nprint(os.getpid(), flush=True)\ndef f(x): pass\n")
    done = shell.palm(
        "worker", target, "--master", "foo", "--name", "w", "-d", "--timeout", "2", code=4
    )
    assert "w did not become ready: it was not ready within 2 s" in done.stderr
    pid = int(shell.palm("logs", "w", "--grep", r"^\d+$").stdout)
    assert process_start_time(pid) is None or not _runs({"pid": pid})


@pytest.mark.slow
def test_name_in_use_is_refused(shell: Shell) -> None:
    shell.palm("master", "--name", "foo", "-d")
    done = shell.palm("master", "--name", "foo", code=1)
    assert done.stderr.startswith("palm: a component named 'foo' already runs: pid ")
    assert "Traceback" not in done.stderr
    done = shell.palm("master", "--name", "foo", "-d", code=1)
    assert "a component named 'foo' already runs" in done.stderr
    assert "stopped foo" in shell.palm("stop", "foo").stdout


@pytest.mark.slow
def test_clusters_are_apart(shell: Shell) -> None:
    shell.palm("--cluster", "one", "master", "--name", "foo", "-d")
    assert shell.palm("status").stdout == "nothing runs in cluster 'default'\n"
    assert "foo" in shell.palm("status", "--cluster", "one").stdout
    shell.palm("logs", "foo", code=3)
    assert "ready" in shell.palm("--cluster", "one", "logs", "foo").stdout
    assert shell.palm("stop", "--all").stdout == "nothing runs in cluster 'default'\n"
    assert shell.palm("--cluster", "one", "stop", "--all").stdout == "stopped foo\n"


@pytest.mark.slow
def test_stop_ends_by_force_what_does_not_end(shell: Shell) -> None:
    shell.palm("master", "--name", "foo", "-d")
    pid = int(str(shell.status()[0]["pid"]))
    os.kill(pid, signal.SIGSTOP)
    assert shell.palm("stop", "foo", "--grace", "0.2").stdout == "stopped foo\n"
    assert process_start_time(pid) is None or not _runs({"pid": pid})


@pytest.mark.slow
def test_follow_prints_what_comes_and_ends_with_the_component(shell: Shell) -> None:
    shell.palm("master", "--name", "foo", "-d")
    follower = shell.start("logs", "foo", "-f")
    wait_for_line(follower, "ready")
    target = shell.write("work.py", WORK)
    shell.palm("worker", target, "--master", "foo", "--name", "w", "-d")
    wait_for_line(follower, "w joined")
    shell.palm("stop", "--all")
    out, err = follower.communicate(timeout=30)
    assert out.splitlines()[-1].endswith("stopped")
    assert (follower.returncode, err) == (0, "")


@pytest.mark.slow
def test_follow_ends_at_an_interrupt(shell: Shell) -> None:
    shell.palm("master", "--name", "foo", "-d")
    follower = shell.start("logs", "foo", "-f")
    wait_for_line(follower, "ready")
    os.killpg(follower.pid, signal.SIGINT)
    assert follower.communicate(timeout=30)[1] == ""
    assert follower.returncode == 130


@pytest.mark.slow
def test_background_component_survives_its_shell(shell: Shell) -> None:
    """A terminal that is closed sends SIGHUP to its session and is gone."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shell.folder)
        command = f"{sys.executable} -m palm master --name foo -d; echo done; sleep 60"
        os.execve("/bin/sh", ["sh", "-c", command], shell.env)
    output = b""
    while b"done" not in output:
        output += os.read(terminal, 1024)
    os.close(terminal)
    os.waitpid(pid, 0)
    assert [component["name"] for component in shell.status()] == ["foo"]
    assert shell.palm("stop", "foo").stdout == "stopped foo\n"


@pytest.mark.slow
def test_status_on_a_terminal_is_a_table(shell: Shell) -> None:
    shell.palm("master", "--name", "foo", "-d")
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "palm", "status"], stdout=theirs, env=shell.env, check=True
    )
    os.close(theirs)
    output = os.read(ours, 65536).decode()
    os.close(ours)
    assert "NAME" in output
    assert "foo" in output
    assert "\x1b[1m" in output


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("worker",), 2, "nothing to serve; give a TARGET"),
        (("worker", "absent.py", "--master", "foo"), 1, "there is no file absent.py"),
        (("worker", "work.pyy", "--master", "foo"), 1, "there is no module 'work.pyy'"),
        (("worker", "wrok.py", "--master", "foo"), 1, "did you mean work.py?"),
        (("worker", "empty.py", "--master", "foo"), 1, "empty.py has nothing to serve"),
        (("worker", "work.py:No", "--master", "foo"), 1, "work.py has no class 'No'"),
        (("master", "--name", "a b"), 1, "'a b' cannot be the name of a component"),
        (("master", "--name", "foo", "--pull", "nonsense:"), 1, "nonsense:"),
        (("logs", "foo", "--grep", "("), 1, "is not a regular expression"),
    ],
)
def test_errors_of_the_user_have_no_traceback(
    shell: Shell, args: tuple[str, ...], code: int, text: str
) -> None:
    shell.write("empty.py", "")
    shell.write("work.py", WORK)
    done = shell.palm(*args, code=code)
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_error_in_the_code_of_a_worker_shows_the_users_lines_only(shell: Shell) -> None:
    shell.write("work.py", "def f(x): pass\nf(1 / 0)\n")
    done = shell.palm("worker", "work.py", "--master", "foo", code=1)
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == '  File "work.py", line 2, in <module>'
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-1] == "palm: work.py cannot be loaded"


def test_syntax_error_shows_the_line_of_the_cell(shell: Shell) -> None:
    shell.write("cell.py", "def f(x):\n    return (\n")
    done = shell.palm(
        "worker", "cell.py", "--master", "foo", "--source-name", "<palm_worker foo>", code=1
    )
    assert 'File "<palm_worker foo>", line 2' in done.stderr
    assert "SyntaxError" in done.stderr
    assert "targets.py" not in done.stderr


def test_wrong_log_level_is_refused(shell: Shell) -> None:
    shell.env["PALM_LOG_LEVEL"] = "DEBGU"
    done = shell.palm("master", "--name", "foo", code=1)
    assert done.stderr == "palm: PALM_LOG_LEVEL: no such level: 'DEBGU' (did you mean DEBUG?)\n"


def test_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    command = f"{sys.executable} -m palm --help | true"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, env=shell.env, timeout=60
    )
    assert done.stderr == ""


@pytest.mark.slow
def test_foreground_start_loads_nothing_heavy(shell: Shell) -> None:
    shell.write("work.py", "import sys\nprint(sorted(sys.modules), flush=True)\ndef f(x): pass\n")
    worker = shell.start("worker", "work.py", "--master", "foo")
    loaded = wait_for_line(worker, "[")
    for module in ("rich", "psutil", "asyncio", "pandas", "subprocess", "multiprocessing",
                   "selectors", "tornado", "cloudpickle", "palm.runner.process"):  # fmt: skip
        assert f"'{module}'" not in loaded
