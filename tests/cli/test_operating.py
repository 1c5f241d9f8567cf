"""Commands that look at and change what runs: scale, start, nodes, logs, events and exec."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from palm.cli import main
from palm.cli.parser import read_moment
from tests.cli.conftest import Shell, wait_for_line
from tests.support.cluster import until

FILE = r"""
[components.talker]
command = ["sh", "-c", '''
printf "plain\n\033[31mred\033[0m \033]0;title\007end\n"
echo oops >&2
exec sleep 600
''']
env = { COLOUR = "blue" }

[components.other]
command = ["sh", "-c", "echo more; exec sleep 600"]
replicas = 2
"""


@pytest.fixture
def shell(cluster_name: str, tmp_path: Path) -> Iterator[Shell]:
    """One whose cluster runs two components."""
    shell = Shell(tmp_path)
    shell.write("c.toml", FILE)
    shell.palm("up", "c.toml")
    yield shell
    shell.close()


@pytest.mark.slow
def test_scale_stop_and_start(shell: Shell) -> None:
    before = shell.processes()
    assert shell.palm("scale", "other", "3").stdout == "other: 2 -> 3 processes, 3 ready\n"
    assert shell.palm("scale", "other", "3").stdout == "other has 3 processes, as before\n"
    assert shell.palm("scale", "other", "1").stdout == "other: 3 -> 1 process, 1 ready\n"
    after = shell.processes()
    assert sorted(after) == ["other", "talker"], "it waits until they are gone"
    assert after["other"]["pid"] == before["other"]["pid"], "what stays is not touched"
    found = json.loads(shell.palm("scale", "other", "0", "--json").stdout)
    assert (found["before"], found["desired"], found["pids"]) == (1, 0, [])
    done = shell.palm("start", "other", code=1)
    assert done.stderr == ("palm: other is to have no process (palm scale other N says how many)\n")
    done = shell.palm("scale", "othr", "2", code=3)
    assert "did you mean other?" in done.stderr and "Traceback" not in done.stderr
    shell.palm("stop", "talker")
    shell.palm("start", "talker", "nobody", code=3)
    assert shell.processes()["talker"]["pid"] is None, "with a wrong name nothing is started"
    assert shell.palm("start", "talker").stdout.startswith("talker is ready (pid ")
    assert shell.palm("start", "talker").stdout.startswith("talker runs already (pid ")
    events = [
        json.loads(line)
        for line in shell.palm("events", "--json", "-n", "1000").stdout.splitlines()
    ]
    assert "config.changed" in [event["kind"] for event in events]
    last = shell.palm("events", "-n", "1").stdout
    assert last.count("\n") == 1 and "talker is ready" in last
    assert shell.palm("events", "--since", "2000-01-01").stdout.count("\n") == len(events)


@pytest.mark.slow
def test_output_of_several_since_and_as_it_was_written(shell: Shell) -> None:
    until(lambda: "oops" in shell.palm("logs", "talker").stdout)
    assert set(shell.palm("logs", "talker").stdout.splitlines()) == {"plain", "red end", "oops"}
    done = shell.palm("logs", "talker", "--raw", "--stream", "stdout")
    assert "\x1b[31mred\x1b[0m \x1b]0;title\x07end" in done.stdout
    assert shell.palm("logs", "talker", "--stream", "stderr").stdout == "oops\n"
    lines = set(shell.palm("logs", "--all").stdout.splitlines())
    assert lines >= {"talker  | oops", "other   | more", "other-1 | more"}
    lines = set(shell.palm("logs", "talker", "other-1").stdout.splitlines())
    assert "other-1 | more" in lines and "other   | more" not in lines
    assert shell.palm("logs", "--all", "--grep", "m.re", "-n", "1").stdout.count("\n") == 1
    assert shell.palm("logs", "talker", "--since", "2000-01-01").stdout.count("\n") == 3
    assert shell.palm("logs", "talker", "--since", time.strftime("%Y-%m-%dT23:59:59")).stdout == ""
    line = shell.palm("logs", "talker", "-t", "--grep", "oops").stdout
    assert line.startswith(time.strftime("%Y-%m-%d ")) and line.endswith(" oops\n")
    done = shell.palm("logs", "talker", "othr", code=3)
    assert "no component named 'othr'" in done.stderr and "did you mean other?" in done.stderr

    follower = shell.start("logs", "--all", "-f", "-n", "0")
    events = shell.start("events", "-f", "-n", "0")
    until(lambda: _has_threads(follower.pid) and _has_threads(events.pid))
    shell.palm("restart", "talker")
    assert wait_for_line(follower, "oops") == "talker | oops\n"
    assert "talker is ready" in wait_for_line(events, "talker is ready")


def _has_threads(pid: int) -> bool:
    """Whether a command has begun to follow."""
    return len(os.listdir(f"/proc/{pid}/task")) > 1


@pytest.mark.slow
def test_names_on_a_terminal_have_colours_and_text_has_none_of_its_own(shell: Shell) -> None:
    until(lambda: "oops" in shell.palm("logs", "talker").stdout)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "palm", "logs", "--all", "--grep", "end|more"]
    env = {**shell.env, "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    subprocess.run(command, stdout=theirs, env=env, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "m" + "talker " in shown and "\x1b[0m | red end" in shown
    assert "\x1b]" not in shown


@pytest.mark.slow
def test_node_that_runs_something_is_removed_only_when_told_so(shell: Shell) -> None:
    head, row = (line.split() for line in shell.palm("nodes").stdout.splitlines())
    assert head == ["NAME", "STATE", "CORES", "LABELS", "CPU%", "PROCESSES", "ADDRESS", "HEARD"]
    (node,) = json.loads(shell.palm("nodes", "list", "--json").stdout)["nodes"]
    assert row[:2] == [node["name"], "ready"] and node["processes"] == 3
    done = shell.palm("nodes", "remove", f"{node['name']}x", code=3)
    assert "no node named" in done.stderr and f"did you mean {node['name']}?" in done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "palm", "nodes", "remove", node["name"]], capture_output=True,
        text=True, env=shell.env, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("runs 3 processes; to remove it all the same: --yes\n")
    assert len(shell.processes()) == 3
    child = pexpect.spawn(
        sys.executable, ["-m", "palm", "nodes", "remove", node["name"]], env=shell.env, timeout=60
    )
    child.expect(r"runs 3 processes. Remove it\? \[y/N\] ")
    child.sendline("n")
    child.expect("nothing was removed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    pids = [each["pid"] for each in shell.processes().values()]
    assert f"removed {node['name']}" in shell.palm("nodes", "remove", node["name"], "--yes").stdout
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert "no node is in cluster" in shell.palm("nodes").stdout


@pytest.mark.slow
def test_program_runs_in_the_place_of_a_component(shell: Shell, tmp_path: Path) -> None:
    done = shell.palm("exec", "talker", "--", "sh", "-c", 'echo "$COLOUR $PWD"; exit 7', code=7)
    assert done.stdout == f"blue {tmp_path}\n"
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = shell.palm("exec", "talker", "--", sys.executable, "-c", show, *HOSTILE)
    assert json.loads(done.stdout) == HOSTILE, "no shell sees them"
    env = shell.palm("exec", "other", "--replica", "1", "--", "env").stdout
    assert "PALM_CLUSTER=" in env
    for own in ("PALM_INSTANCE", "PALM_COMPONENT", "PALM_READY_FD", "PALM_TIE_FD", "PALM_REPLICA"):
        assert f"{own}=" not in env, "it is not the component"
    done = subprocess.run(
        [sys.executable, "-m", "palm", "exec", "other-1", "--", "cat"], input="through\n",
        capture_output=True, text=True, env=shell.env, timeout=60,
    )  # fmt: skip
    assert done.stdout == "through\n"
    child = pexpect.spawn(
        sys.executable, ["-m", "palm", "exec", "talker", "--", "tty"], env=shell.env, timeout=60
    )
    child.expect("/dev/")
    child.expect(pexpect.EOF)
    child.close()
    assert shell.palm("exec", "talker", "--", "no-such", code=127).stderr == (
        "palm: there is no program 'no-such'\n"
    )
    shell.palm("exec", "talker", "--", str(tmp_path / "c.toml"), code=126)
    assert "did you mean talker?" in shell.palm("exec", "taker", "--", "ls", code=3).stderr
    assert (
        "has no process 2"
        in shell.palm("exec", "other", "--replica", "2", "--", "ls", code=3).stderr
    )
    assert "does not run as a kernel" in shell.palm("exec", "talker", "-c", "1", code=1).stderr
    shell.palm("stop", "talker")
    assert "does not run (it is stopped)" in shell.palm("exec", "talker", "--", "ls", code=1).stderr


@pytest.mark.slow
def test_code_runs_in_the_kernel_of_a_component(cluster_shell: Shell) -> None:
    shell = cluster_shell
    shell.palm("master", "--name", "foo", "-d", "--kernel")
    done = shell.palm("exec", "foo", "-c", "print('hello'); master.name")
    assert done.stdout == "hello\n'foo'\n"
    done = shell.palm("exec", "foo", "-c", "1 / 0", code=1)
    assert "ZeroDivisionError: division by zero" in done.stderr and done.stdout == ""
    assert "\x1b" not in done.stderr
    found: dict[str, Any] = json.loads(shell.palm("--json", "exec", "foo", "-c", "6 * 7").stdout)
    assert found == {"stdout": "", "stderr": "", "result": "42", "error": None}
    done = subprocess.run(
        [sys.executable, "-m", "palm", "exec", "foo", "-c", "-"], input="x = 1\nx + 1\n",
        capture_output=True, text=True, env=shell.env, timeout=60,
    )  # fmt: skip
    assert done.stdout == "2\n"


def test_moments_are_durations_before_now_or_times() -> None:
    now = time.time()
    assert read_moment("5m") == pytest.approx(now - 300, abs=5)
    assert read_moment("0") == pytest.approx(now, abs=5)
    assert read_moment("1970-01-01T00:01:00+00:00") == 60
    today = time.localtime()
    noon = time.mktime((*today[:3], 12, 0, 0, 0, 0, -1))
    assert read_moment("12:00") == noon


# Command injection

HOSTILE = [
    "; rm -rf /",
    "$(touch pwned)",
    "`touch pwned`",
    "{x.__class__}",
    "%(y)s",
    "%s%n",
    "--flag=injected",
    "-c",
    "$HOME",
    "a && touch pwned",
    "a\nb",
    "${HOME",
    "*",
    "'\"\\",
]


@pytest.mark.slow
def test_values_of_a_file_arrive_as_they_are(cluster_shell: Shell, cluster_name: str) -> None:
    """F45: no shell, no format and no template ever sees what a cluster file says."""
    shell = cluster_shell
    shell.write(
        "show.py",
        "import json, os, sys, time\n"
        "print(json.dumps([sys.argv[1:], os.environ['HOSTILE']]), flush=True)\n"
        "time.sleep(600)\n",
    )
    words = [text.replace("${", "$${") for text in HOSTILE]
    listed = json.dumps(words)  # JSON's texts are TOML's, too
    shell.write(
        "c.toml",
        f"[components.a]\nscript = 'show.py'\nargs = {listed}\n"
        f"env = {{ HOSTILE = {json.dumps('; '.join(HOSTILE))} }}\n"
        f"[components.b]\ncommand = {json.dumps([sys.executable, 'show.py', *words])}\n"
        "env = { HOSTILE = '$(touch pwned)' }\n",
    )
    shell.palm("check", "c.toml")
    shell.palm("up", "c.toml")

    def said(name: str) -> Any:
        lines = shell.palm("logs", name, "--grep", r"^\[").stdout
        return json.loads(lines) if lines else None

    until(lambda: said("a") and said("b"))
    assert said("a") == [HOSTILE, "; ".join(HOSTILE)]
    assert said("b") == [HOSTILE, "$(touch pwned)"]
    pid = shell.processes()["a"]["pid"]
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:-1]
    assert argv == [text.encode() for text in HOSTILE]
    assert sorted(os.listdir(shell.folder)) == ["c.toml", "show.py"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("${env:HOME}", "there is no placeholder '${env:HOME}'"),
        ("${x.__class__}", "there is no placeholder"),
        ("${nmae}", "did you mean ${name}?"),
        ("--name=${name}", "a placeholder can only be a whole argument"),
        ("${socket:gone.pull}", "names no component of this cluster"),
    ],
)
def test_placeholder_that_nobody_knows_is_an_error_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argument: str, said: str
) -> None:
    """F45: the set of placeholders is closed."""
    file = tmp_path / "c.toml"
    file.write_text(f'[components.a]\ncommand = ["sh"]\nargs = [\n  "x",\n  "{argument}",\n]\n')
    assert main(["check", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"palm: {file}:5: components.a.args: ") and said in error


@pytest.mark.parametrize(
    "name", ["; rm -rf /", "$(touch x)", "../../etc", "a b", "--a=b", "{0}", "%s"]
)
def test_no_name_of_a_component_gets_near_a_shell_or_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """F45: names become parts of files' names and of addresses."""
    file = tmp_path / "c.toml"
    file.write_text(f'[components."{name}"]\ncommand = ["sh"]\n')
    code = main(["check", str(file)])
    error = capsys.readouterr().err
    assert code == 1 and f"{file}:1: " in error and "cannot be the name" in error
