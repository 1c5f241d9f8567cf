from __future__ import annotations

import psutil
import pytest

from benchmarks.processes import Place

#: Starts a process in a session of its own, and leaves it behind.
LEAVES = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_what_a_process_leaves_behind_is_ended_with_its_place() -> None:
    with Place() as place:
        process = place.spawn(LEAVES, talk=True)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
    assert process.poll() is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
