"""The commands in real processes."""

from __future__ import annotations

import json
import os
import platform
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from palm._version import __version__
from palm.clusters import attach
from palm.runner.local import runner_pid
from palm.runtime.folders import Folders
from tests.cli.conftest import WORK, Shell, wait_for_line
from tests.support.cluster import until


def test_version(shell: Shell) -> None:
    assert shell.palm("version").stdout.splitlines()[0].split() == ["palm", __version__]
    assert shell.palm("--version").stdout == f"palm {__version__}\n"
    found = json.loads(shell.palm("--json", "version").stdout)
    assert list(found) == ["palm", "python", "pyzmq", "libzmq", "registry", "runner"]
    assert (found["palm"], found["python"]) == (__version__, platform.python_version())
    assert (found["registry"], found["runner"]) == ("", "")


@pytest.mark.slow
def test_version_tells_those_that_run(shell: Shell) -> None:
    shell.palm("up")
    until(lambda: runner_pid(Folders.find()))
    found = json.loads(shell.palm("version", "--json").stdout)
    assert (found["registry"], found["runner"]) == (__version__, __version__)


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
    pid = shell.processes()["foo"]["pid"]
    assert done.stdout == f"foo is ready (pid {pid}); see palm logs foo\n"
    target = shell.write("work.py", WORK)
    done = shell.palm("--json", "worker", target, "--master", "foo", "--name", "w", "-d")
    worker = next(each for each in shell.status() if each["name"] == "w")
    assert json.loads(done.stdout)["pids"] == [shell.processes()["w-0"]["pid"]]
    assert (worker["functions"], worker["master"]) == (["double"], "foo")

    plain = shell.palm("status").stdout.splitlines()
    assert plain[0].split() == ["NAME", "ROLE", "STATE", "READY", "MASTER", "FUNCTIONS"]
    assert plain[1].split() == ["foo", "master", "ready", "1/1"]
    assert plain[2].split() == ["w", "worker", "ready", "1/1", "foo", "double"]
    plain = shell.palm("ps").stdout.splitlines()
    assert plain[0].split() == ["PROCESS", "STATE", "PID", "UP", "RESTARTS", "NODE", "REASON"]
    assert plain[1].split()[:3] == ["foo", "ready", str(pid)]

    for process in shell.processes().values():
        assert (
            os.getsid(process["pid"]) == process["pid"]
        )  # nothing of a shell's session reaches it

    client = (
        "from palm.clients import Client\nwith Client('foo') as c: print(c.eval('foo.double', 4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", client], capture_output=True, text=True, env=shell.env, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "8", done.stderr
    until(lambda: "doubling 4\n" in shell.palm("logs", "w").stdout)
    assert shell.palm("logs", "w", "--grep", "doubling", "-n", "1").stdout == "doubling 4\n"
    lines = shell.palm("--json", "logs", "w-0", "--grep", "doubling").stdout.splitlines()
    (line,) = [json.loads(line) for line in lines]
    assert (line["process"], line["stream"], line["text"]) == ("w-0", "stdout", "doubling 4")

    done = shell.palm("stop", "fo", code=3)
    assert done.stderr == "palm: no component named 'fo' in cluster 'default'; did you mean foo?\n"
    assert shell.palm("stop", "--all").stdout == "stopped foo, w\n"
    assert {each["state"] for each in shell.status()} == {"stopped"}
    assert not _runs({"pid": pid})
    assert "stopped" in shell.palm("logs", "foo").stdout  # the output of what is gone stays
    assert shell.palm("down").stdout == "the cluster 'default' has ended\n"
    assert shell.palm("status").stdout == "nothing runs in cluster 'default'\n"
    assert "stopped" in shell.palm("logs", "foo").stdout, "also when the cluster has ended"


def _runs(component: dict[str, object]) -> bool:
    try:
        stat = Path(f"/proc/{component['pid']}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_background_start_that_fails_shows_why(cluster_shell: Shell) -> None:
    target = cluster_shell.write("work.py", "def f(x): pass\nraise RuntimeError('no luck')\n")
    done = cluster_shell.palm("worker", target, "--master", "foo", "--name", "w", "-d", code=1)
    assert "w-0 did not become ready: it ended with exit code 1 before it was ready" in done.stderr
    assert "RuntimeError: no luck" in done.stderr
    assert "worker.py" not in done.stderr  # our own frames say nothing
    assert "palm logs" not in done.stdout


@pytest.mark.slow
def test_background_start_that_is_too_slow_is_ended(cluster_shell: Shell) -> None:
    target = cluster_shell.write(
        "work.py", "import os\nprint(os.getpid(), flush=True)\ndef f(x): pass\n"
    )
    done = cluster_shell.palm(
        "worker", target, "--master", "foo", "--name", "w", "-d", "--timeout", "2", code=4
    )
    assert "w-0 did not become ready: it was not ready within 2 s" in done.stderr
    pid = int(cluster_shell.palm("logs", "w", "--grep", r"^\d+$").stdout)
    assert not _runs({"pid": pid})


@pytest.mark.slow
def test_name_in_use_is_refused(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    done = cluster_shell.palm("master", "--name", "foo", code=1)
    assert done.stderr.startswith("palm: a component named 'foo' already runs: pid ")
    assert "Traceback" not in done.stderr
    assert cluster_shell.palm("master", "--name", "foo", "-d").stdout.startswith(
        "foo runs already (pid "
    )
    assert "stopped foo" in cluster_shell.palm("stop", "foo").stdout


@pytest.mark.slow
def test_clusters_are_apart(shell: Shell) -> None:
    shell.env["PALM_CLUSTER"] = "default"  # with none named, the only one that runs is meant
    shell.palm("--cluster", "one", "master", "--name", "foo", "-d")
    assert shell.palm("status").stdout == "nothing runs in cluster 'default'\n"
    assert "foo" in shell.palm("status", "--cluster", "one").stdout
    shell.palm("logs", "foo", code=3)
    assert "ready" in shell.palm("--cluster", "one", "logs", "foo").stdout
    assert shell.palm("stop", "--all").stdout == "nothing runs in cluster 'default'\n"
    assert shell.palm("--cluster", "one", "stop", "--all").stdout == "stopped foo\n"
    shell.palm("--cluster", "two", "up")
    assert shell.palm("--cluster", "one", "down").stdout == "the cluster 'one' has ended\n"
    assert shell.palm("--cluster", "two", "up", "--json").stdout, "the registry serves the other"


@pytest.mark.slow
def test_stop_ends_by_force_what_does_not_end(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    pid = cluster_shell.processes()["foo"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert cluster_shell.palm("stop", "foo", "--grace", "0.2").stdout == "stopped foo\n"
    assert not _runs({"pid": pid})


@pytest.mark.slow
def test_follow_prints_what_comes_and_ends_with_the_component(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    follower = cluster_shell.start("logs", "foo", "-f")
    wait_for_line(follower, "ready")
    target = cluster_shell.write("work.py", WORK)
    cluster_shell.palm("worker", target, "--master", "foo", "--name", "w", "-d")
    wait_for_line(follower, "w-0 joined")
    cluster_shell.palm("stop", "--all")
    out, err = follower.communicate(timeout=30)
    assert out.splitlines()[-1].endswith("stopped")
    assert (follower.returncode, err) == (0, "")


@pytest.mark.slow
def test_follow_ends_at_an_interrupt(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    follower = cluster_shell.start("logs", "foo", "-f")
    wait_for_line(follower, "ready")
    os.killpg(follower.pid, signal.SIGINT)
    assert follower.communicate(timeout=30)[1] == ""
    assert follower.returncode == 130


@pytest.mark.slow
def test_background_component_survives_its_shell(cluster_shell: Shell) -> None:
    """A terminal that is closed sends SIGHUP to its session and is gone."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cluster_shell.folder)
        command = f"{sys.executable} -m palm master --name foo -d; echo done; sleep 60"
        os.execve("/bin/sh", ["sh", "-c", command], cluster_shell.env)
    output = b""
    while b"done" not in output:
        output += os.read(terminal, 1024)
    os.close(terminal)
    os.waitpid(pid, 0)
    assert [component["name"] for component in cluster_shell.status()] == ["foo"]
    assert cluster_shell.palm("stop", "foo").stdout == "stopped foo\n"


@pytest.mark.slow
def test_status_on_a_terminal_is_a_table(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "palm", "status"], stdout=theirs, env=cluster_shell.env, check=True
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


@pytest.mark.slow
def test_restart_gives_other_processes(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    before = cluster_shell.processes()["foo"]["pid"]
    done = cluster_shell.palm("restart", "foo")
    after = cluster_shell.processes()["foo"]["pid"]
    assert done.stdout == f"foo is ready (pid {after})\n" and after != before
    assert "did you mean foo?" in cluster_shell.palm("restart", "fooo", code=3).stderr


@pytest.mark.slow
def test_cluster_of_a_shell_stays_until_it_is_ended(shell: Shell) -> None:
    first = json.loads(shell.palm("up", "--json").stdout)
    assert first["cluster"] == "default" and first["registry"].startswith("http://127.0.0.1:")
    assert json.loads(shell.palm("up", "--json").stdout) == first
    found = attach()
    assert found is not None
    with found:
        assert found.registry.view_cluster("default").linger is None
        shell.palm("up", "--linger", "1h30m")
        assert found.registry.view_cluster("default").linger == 5400
    assert "is not a duration" in shell.palm("up", "--linger", "soon", code=2).stderr
    done = json.loads(shell.palm("down", "--json").stdout)
    assert done == {"cluster": "default", "ended": True, "stopped": []}
    assert shell.palm("down").stdout == "no cluster 'default' runs\n"


CLUSTER = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
[components.w]
role = "worker"
module = "palm"
args = ["worker", "work.py", "--master", "foo"]
replicas = {replicas}
needs = ["foo"]
"""


@pytest.mark.slow
def test_cluster_file_is_put_in_force_and_awaited(cluster_shell: Shell) -> None:
    cluster_shell.write("work.py", WORK)
    cluster_shell.write("cluster.toml", CLUSTER.format(replicas=2))
    done = cluster_shell.palm("up", "cluster.toml")
    assert done.stdout.splitlines()[0] == "cluster.toml: + foo, + w"
    assert done.stdout.splitlines()[-1].split()[:4] == ["w", "worker", "ready", "2/2"]
    pids = {name: process["pid"] for name, process in cluster_shell.processes().items()}
    assert sorted(pids) == ["foo", "w-0", "w-1"]
    until(lambda: " - w-0 - INFO - " in cluster_shell.palm("logs", "w-0").stdout)  # its own name
    assert "nothing changed" in cluster_shell.palm("up", "cluster.toml").stdout
    cluster_shell.write("cluster.toml", CLUSTER.format(replicas=1))
    assert "changed w" in cluster_shell.palm("up", "cluster.toml").stdout
    until(lambda: sorted(cluster_shell.processes()) == ["foo", "w-0"])
    assert cluster_shell.processes()["foo"]["pid"] == pids["foo"]


@pytest.mark.slow
def test_cluster_file_that_cannot_work_says_where_and_why(
    cluster_shell: Shell, cluster_name: str
) -> None:
    assert "cannot be read" in cluster_shell.palm("up", "absent.toml", code=1).stderr
    cluster_shell.write("cluster.toml", CLUSTER.format(replicas=0).replace("role", "rule", 1))
    done = cluster_shell.palm("up", "cluster.toml", code=1)
    assert "cluster.toml" in done.stderr and "did you mean 'role'?" in done.stderr
    absent = CLUSTER.format(replicas=1).replace("work.py", "wrok.py")
    cluster_shell.write("cluster.toml", absent)
    cluster_shell.palm("up", "cluster.toml", "--timeout", "1", code=4)
    cluster_shell.write("cluster.toml", absent + 'restart = "never"\n')
    done = cluster_shell.palm("up", "cluster.toml", code=1)
    assert "missing: 1 of w: failed: it ended with exit code 1" in done.stdout
    assert f"the cluster '{cluster_name}' is not complete" in done.stderr
    assert "there is no file wrok.py" in done.stderr, "its last words are shown"
    text = CLUSTER.format(replicas=0).replace("role", "rule", 1).replace("needs", "neds")
    cluster_shell.write("cluster.toml", text)
    assert len(cluster_shell.palm("up", "cluster.toml", code=1).stderr.splitlines()) == 2, (
        "all errors"
    )


ONCE = """
[components.once]
command = ["sh", "-c", "echo done"]
ready = "delay:60"
[components.after]
command = ["sleep", "60"]
ready = "delay:0"
needs = ["once"]
"""


@pytest.mark.slow
def test_what_has_done_its_work_is_not_missing(cluster_shell: Shell) -> None:
    cluster_shell.write("cluster.toml", ONCE)
    assert "missing" not in cluster_shell.palm("up", "cluster.toml").stdout
    states = {each["name"]: each["state"] for each in cluster_shell.status()}
    assert states == {"after": "ready", "once": "stopped"}


@pytest.mark.slow
def test_start_that_failed_leaves_no_name_behind(cluster_shell: Shell) -> None:
    cluster_shell.palm("worker", "absent.py", "--master", "foo", "--name", "w", "-d", code=1)
    assert cluster_shell.status() == []
    assert "there is no file absent.py" in cluster_shell.palm("logs", "w").stdout


@pytest.mark.slow
def test_killed_runner_is_started_again_by_what_needs_it(shell: Shell) -> None:
    shell.palm("master", "--name", "foo", "-d")
    before = shell.processes()["foo"]["pid"]
    folders = Folders.find()
    kill(runner_pid(folders))
    shell.palm("restart", "foo")
    assert shell.processes()["foo"]["pid"] != before
    kill(runner_pid(folders))
    assert shell.palm("stop", "foo").stdout == "stopped foo\n"
    kill(runner_pid(folders))
    assert shell.palm("down").stdout == "the cluster 'default' has ended\n"


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: not _runs({"pid": pid}))


@pytest.mark.slow
def test_ui_prints_an_address_that_logs_in_once(shell: Shell) -> None:
    assert "start one: palm up" in shell.palm("ui", code=1).stderr
    shell.palm("up")
    said = shell.palm("ui")
    url = said.stdout.strip()
    assert url.endswith("next=%23%2Fclusters%2Fdefault")
    port = url.split(":")[2].partition("/")[0]
    assert f"ssh -N -L {port}:127.0.0.1:{port}" in said.stderr
    assert f"/proxy/{port}/login?code=" in said.stderr
    assert json.loads(shell.palm("--json", "ui").stdout)["url"].startswith("http://")
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(url) as page:
        assert page.status == 200 and "palm" in page.read().decode()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url)
