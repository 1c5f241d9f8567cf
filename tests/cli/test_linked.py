"""``palm server``, ``hub``, ``pipeline`` and ``sink`` in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import Shell, wait_for_line

WORK = """
def f(x):
    return x + 1

def g(x):
    return x * 2

def h(x):
    return ["h", x]
"""
CLASSES = """
from palm.servers import Pipeline, Server, Sink

class First(Server):
    def f(self, x):
        return x + 1

    def handle_stream(self, message):
        return ("even" if message.payload % 2 == 0 else "odd"), message

class Even(Pipeline):
    def g(self, x):
        return ["even", x]

class Odd(Pipeline):
    def g(self, x):
        return ["odd", x]

class Last(Sink):
    def h(self, x):
        return [self.name, *x]
"""


def ask(shell: Shell, functions: list[object], items: list[int]) -> list[object]:
    """The results of a job of ``first``, sorted."""
    code = (
        "from palm.clients import Client; import json\n"
        f"with Client('first') as c: print(json.dumps(sorted(c.job({functions}, {items}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=shell.env, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_linked_components_from_start_to_stop(cluster_shell: Shell) -> None:
    shell = cluster_shell
    target = shell.write("work.py", WORK)
    # In any order: who comes first waits, and says for whom.
    done = shell.palm("sink", target, "--name", "third", "--previous", "second", "-d")
    assert done.stdout.startswith("third is ready (pid ")
    assert done.stderr == "palm: it waits for second, which does not run\n"
    shell.palm("server", target, "--name", "first", "--pipelined", "-d")
    args = ("pipeline", target, "--name", "second", "--no-to-client", "-d")
    assert "did you mean first?" in shell.palm(*args, "--previous", "frist").stderr
    done = shell.palm(*args, "--previous", "first", "--json")
    assert done.stderr == ""
    assert json.loads(done.stdout)["role"] == "pipeline"
    assert ask(shell, ["first.f", "second.g", "third.h"], [0, 1]) == [["h", 2], ["h", 4]]

    roles = {each["name"]: (each["role"], each["functions"]) for each in shell.status()}
    served = ["echo", "f", "g", "h"]
    assert roles == {
        "first": ("server", served), "second": ("pipeline", served), "third": ("sink", served),
    }  # fmt: skip
    lines = shell.palm("status").stdout.splitlines()
    assert lines[2].split()[:4] == ["second", "pipeline", "ready", "1/1"]
    assert shell.processes().keys() == {"first", "second", "third"}
    assert "takes messages from first" in shell.palm("logs", "second").stdout
    assert shell.palm(*args, "--previous", "first").stdout.startswith("second runs already (pid ")
    assert shell.palm("restart", "second").stdout.startswith("second is ready (pid ")
    assert ask(shell, ["first.f", "second.g", "third.h"], [2]) == [["h", 6]]
    done = shell.palm("server", target, "--name", "first", code=1)
    assert done.stderr.startswith("palm: a component named 'first' already runs: pid ")
    done = shell.palm("sink", target, "--name", "second", "--previous", "first", "-d", code=1)
    assert "'second' is a pipeline here, and cannot be a sink too" in done.stderr
    assert shell.palm("stop", "--all").stdout == "stopped first, second, third\n"


@pytest.mark.slow
def test_foreground_classes_topics_hub_and_kernel(cluster_shell: Shell) -> None:
    shell = cluster_shell
    target = shell.write("classes.py", CLASSES)
    shell.write("work.py", "def w(x):\n    return ['hub', *x]\n")
    first = shell.start(
        "server", f"{target}:First", "--name", "first", "--pull", "tcp://127.0.0.1:0"
    )
    wait_for_line(first, "Listening at tcp://127.0.0.1:")
    wait_for_line(first, "ready")
    odd = shell.start("pipeline", f"{target}:Odd", "--name", "odd", "--previous", "first/odd")
    wait_for_line(odd, "takes messages from first")
    even = shell.start(
        "pipeline", f"{target}:Even", "--name", "even", "--previous", "first/even", "--no-to-client"
    )
    wait_for_line(even, "takes messages from first")
    hub = shell.start("hub", "--name", "hub", "--previous", "even", "--pipelined")
    wait_for_line(hub, "takes messages from even")
    shell.palm("worker", "work.py", "--name", "w", "--master", "hub", "-d")
    shell.palm("sink", target, "--name", "last", "--previous", "hub,even/never", "-d", "--kernel")
    found = ask(shell, ["first.f", ["odd.g", "even.g"], "hub.w", "last.h"], [0, 1])
    assert found == [["last", "hub", "even", 2], ["odd", 1]]
    status = {each["name"]: each for each in shell.status()}
    assert [status[name]["own"] for name in ("odd", "hub", "last")] == [False, False, True]
    assert status["last"]["kernel"]
    for process in (hub, odd, even, first):
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("server", "--name", "a"), 2, "server: nothing to serve; give a TARGET"),
        (("sink", "--name", "a", "--previous", "b", "-d"), 2, "sink: nothing to serve"),
        (("pipeline", "work.py", "--name", "a"), 2, "whose results does it take? give --previous"),
        (("hub", "--name", "a", "-d"), 2, "hub: whose results does it take? give --previous"),
        (("server", "wrok.py", "--name", "a"), 1, "did you mean work.py?"),
        (("server", "work.py:Firts", "--name", "a"), 1, "work.py has no class 'Firts'"),
        (("server", "classes.py:Even", "--name", "a"), 1, "derive it from palm.servers.Server"),
        (("pipeline", "classes.py", "--name", "a", "--previous", "b"), 1, ":Class: Even, Odd"),
        (("sink", "work.py", "--name", "a", "--previous", "b", "--sub", "tcp://h:1,tcp://h:2"), 1,
         "2 addresses of 1 components before this one"),
        (("server", "work.py", "--name", "a", "--pull", "nonsense:"), 1, "nonsense:"),
    ],
)  # fmt: skip
def test_errors_of_the_user_have_no_traceback(
    shell: Shell, args: tuple[str, ...], code: int, text: str
) -> None:
    shell.write("work.py", WORK)
    shell.write("classes.py", CLASSES)
    done = shell.palm(*args, code=code)
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert shell.palm("status").stdout == "nothing runs in cluster 'default'\n"
