"""What a process uses, with all that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from palm.runtime.processes import read_processes, trees
from palm.runtime.usage import Usage
from tests.support.nodes import eventually

BUSY = """
import subprocess, sys, threading
held = bytearray(40 << 20)
held[::4096] = b"x" * len(held[::4096])
open_files = [open("/dev/null") for _ in range(20)]
threads = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(3)]
[each.start() for each in threads]
if sys.argv[1:] == ["parent"]:
    child = subprocess.Popen([sys.executable, "-c", sys.stdin.read()])
print("up", flush=True)
while True:
    sum(range(1000))
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, "parent"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(BUSY)
        process.stdin.close()
        yield process
        os.killpg(process.pid, 9)


def test_what_a_process_started_counts_too(parent: subprocess.Popen[str]) -> None:
    usage = Usage()

    def both_are_up() -> bool:
        usage.look([parent.pid], time.monotonic())
        used = usage.of(parent.pid)
        return used is not None and (used.rss or 0) > 80 << 20 and (used.threads or 0) >= 8

    assert eventually(both_are_up)
    before = usage.of(parent.pid)
    assert before is not None
    time.sleep(0.3)
    usage.look([parent.pid], time.monotonic())
    used = usage.of(parent.pid)
    assert used is not None
    assert used.files is not None and used.files >= 40
    assert used.seconds > before.seconds
    assert used.cpu is not None and used.cpu > 10


def test_one_that_is_asked_for_itself_counts_once() -> None:
    rows = read_processes()
    ours, parents = os.getpid(), os.getppid()
    found = trees(rows, [ours, parents])
    assert ours in found[ours]
    assert not found[ours] & found[parents]


def test_process_that_is_gone_is_left_out() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    usage = Usage()
    usage.look([process.pid, os.getpid()], 1.0)
    assert usage.of(process.pid) is None
    assert usage.of(os.getpid()) is not None
    assert usage.of(None) is None
