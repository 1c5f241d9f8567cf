"""A run of tests that is killed with -9 leaves no process and no folder behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ROOT, until
from tests.support.session import VARIABLE, members

pytestmark = pytest.mark.slow

BOUND = 60.0  # seconds; far beyond what any of this takes

PLANTED = """
import os, signal
from pathlib import Path
import palm

def test_it_stays(palm_home, request):
    if {postgres}:
        assert request.getfixturevalue("own_server").pid
    cluster = palm.up(linger="forever")
    cluster.start("master", "foo").wait_ready()
    Path({told!r}).write_text(os.environ[{variable!r}])
    signal.pause()
"""


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.postgres)],
                ids=["cluster", "with-postgresql"])  # fmt: skip
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A run of tests in the middle of one: its pid and its name."""
    told, planted = tmp_path / "told", tmp_path / "test_planted.py"
    values = {"postgres": request.param, "told": str(told), "variable": VARIABLE}
    planted.write_text(PLANTED.format(**values))
    plugins = ["-p", "tests.conftest", "-p", "tests.support.postgres", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "registry")])
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugins, str(planted)],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: (told.exists() and told.read_text()) or process.poll() is not None,
              within=BOUND, what="the planted test is in its middle")  # fmt: skip
        assert process.poll() is None, (tmp_path / "output").read_text()
        yield process.pid, told.read_text()
    finally:
        process.kill()
        process.wait()


def test_nothing_is_left_of_a_run_that_was_killed(run: tuple[int, str]) -> None:
    pid, name = run
    assert len(members(name)) >= 3, "a registry, a runner, a master at least"
    assert len(folders(name)) >= 2
    os.kill(pid, signal.SIGKILL)
    until(lambda: not members(name), within=BOUND, what="all that it started has ended")
    until(lambda: not folders(name), within=BOUND, what="its folders are gone")


def folders(name: str) -> list[Path]:
    """Those of a run."""
    return [*Path("/tmp").glob(f"palm-{name}-*")]
