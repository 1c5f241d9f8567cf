"""``palm top`` of real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import Shell, wait_for_line
from tests.support.cluster import until

WORK = """
import time

def work(x):
    time.sleep(0.002)
    if x % 10 == 0:
        raise ValueError(x)
    return x
"""

JOB = """
import time
from itertools import count
from palm.clients import Client

client = Client("foo", logging_level=40)
for at, _ in enumerate(client.job("foo.work", count(), errors="return")):
    if at == 100:
        print("under way", flush=True)
"""


def test_nothing_runs(shell: Shell) -> None:
    assert shell.palm("top", "-n", "1").stdout == "nothing runs in cluster 'default'\n"
    found = json.loads(shell.palm("--json", "top", "-n", "1").stdout)
    assert (found["cluster"], found["components"]) == ("default", [])


@pytest.fixture
def busy(shell: Shell) -> Shell:
    """A master and a worker in shells, and a job that has no end."""
    wait_for_line(shell.start("master", "--name", "foo"), "ready")
    wait_for_line(shell.start("worker", shell.write("work.py", WORK), "--master", "foo",
                              "--name", "w"), "Got worker pull address")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", JOB], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=shell.env, cwd=shell.folder, process_group=0,
    )  # fmt: skip
    shell._started.append(process)
    wait_for_line(process, "under way")
    return shell


@pytest.mark.slow
def test_programs_get_rates_and_latencies(busy: Shell) -> None:
    done = busy.palm("top", "--json", "-n", "2")
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == 2
    assert 0.5 < looks[1]["time"] - looks[0]["time"] < 10
    for look in looks:
        components = {each["name"]: each for each in look["components"]}
        assert set(components) == {"foo", "w"}
        foo, w = components["foo"], components["w"]
        assert (foo["role"], w["role"], foo["state"]) == ("master", "worker", "ready")
        for each in (foo, w):
            assert 10 < each["rate_out"] < 1000  # 2 ms each, on one worker
            assert 0.001 < each["mean"] < 0.2
            assert each["p50"] <= each["p99"]
            assert each["failed"] > 0
            assert each["rss"] > 1 << 20
        assert foo["cpu"] is not None
        assert foo["p50"] > w["mean"]  # it waited its turn
        assert foo["queued"] > 0
        edges = {(each["source"], each["target"]): each for each in foo["edges"]}
        assert edges["foo", "w"]["rate"] > 0
        assert edges["clients", "foo"]["open"] >= foo["queued"] + foo["running"]
        [work] = foo["functions"]
        assert work["received"] - work["done"] - work["failed"] == edges["clients", "foo"]["open"]


@pytest.mark.slow
def test_pipes_get_plain_lines(busy: Shell) -> None:
    busy.env["COLUMNS"] = "80"
    done = busy.palm("top", "-n", "2", "--functions", "--edges", "--sort", "name")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.count("NAME ") == 2
    assert re.search(r"^foo +work ", done.stdout, re.MULTILINE)
    assert re.search(r"^clients foo ", done.stdout, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d  default: 2 processes, clients ", done.stdout)


@pytest.mark.slow
def test_a_terminal_has_a_screen_of_its_own_until_ctrl_c(busy: Shell) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "palm", "top", "--interval", "0.2"], stdin=follower, stdout=follower,
        stderr=subprocess.PIPE, env=busy.env | {"TERM": "xterm", "COLUMNS": "100", "LINES": "20"},
        cwd=busy.folder, process_group=0,
    )  # fmt: skip
    os.close(follower)
    seen = b""

    def shown() -> bool:
        nonlocal seen
        seen += os.read(leader, 1 << 16)
        return seen.count(b"NAME ") >= 3

    until(shown, within=20)
    process.send_signal(signal.SIGINT)
    end = time.monotonic() + 10
    while b"\x1b[?1049l" not in seen and time.monotonic() < end:
        seen += os.read(leader, 1 << 16)
    _, err = process.communicate(timeout=20)
    os.close(leader)
    assert (process.returncode, err) == (130, b"")
    assert b"\x1b[?1049h" in seen and b"\x1b[?1049l" in seen


def test_usage(shell: Shell) -> None:
    done = shell.palm("top", "--interval", "0.01", code=2)
    assert "--interval must be 0.1 or more" in done.stderr
    assert "no such value: x" in shell.palm("top", "--sort", "x", code=2).stderr
