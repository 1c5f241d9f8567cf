"""Signals to processes with many threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from palm.runtime.processes import let_go_on

pytestmark = pytest.mark.slow

#: Ends at SIGTERM, once its main thread hears of it.
SLEEPER = """
import signal, sys, threading, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
def wake_often():
    while True:
        time.sleep(0.005)
for _ in range(20):
    threading.Thread(target=wake_often, daemon=True).start()
print("up", flush=True)
time.sleep(60)
"""


def is_suspended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are read from /proc")
def test_main_thread_of_a_suspended_process_hears_the_next_signal() -> None:
    """Any thread that has yet to run could take it, about once in ten times."""
    for _ in range(40):
        with subprocess.Popen(
            [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                os.killpg(process.pid, signal.SIGSTOP)
                while not is_suspended(process.pid):
                    pass
                let_go_on(process.pid, lambda pid=process.pid: os.killpg(pid, signal.SIGCONT))
                process.terminate()
                assert process.wait(20) == 0
            finally:
                process.kill()
