"""How long a cluster goes on that a shell has started: ``palm up --linger``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from palm.registry_api.schema import ClusterInfo
from palm.runner.local import runner_pid
from palm.runner.registry import find_registry
from palm.runtime.folders import Folders
from tests.cli.conftest import Shell
from tests.support.cluster import until

pytestmark = pytest.mark.slow

#: A program that holds the cluster until it is told to go on, or killed.
HOLD = """
import palm, sys
with palm.up():
    print("held", flush=True)
    sys.stdin.readline()
"""


def info() -> ClusterInfo:
    folders = Folders.find()
    client = find_registry(folders)
    assert client is not None
    with client:
        return client.view_cluster(folders.cluster)


def has_ended() -> bool:
    return info().state == "ended" and runner_pid(Folders.find()) is None


@pytest.mark.parametrize(
    ("given", "linger"), [("90s", 90.0), ("2m", 120.0), ("forever", None), ("45", 45.0)]
)
def test_cluster_lingers_as_long_as_it_was_told(
    cluster_shell: Shell, given: str, linger: float | None
) -> None:
    cluster_shell.palm("up", "--linger", given)
    found = info()
    assert (found.state, found.linger, found.holders) == ("alive", linger, [])


def test_cluster_that_is_started_in_a_shell_stays_by_default(cluster_shell: Shell) -> None:
    cluster_shell.palm("up")
    assert info().linger is None
    cluster_shell.palm("up", "--linger", "60")
    cluster_shell.palm("up")
    assert info().linger == 60, "what nobody mentions stays as it is"


def test_cluster_without_linger_ends_at_once_where_nobody_holds_it(cluster_shell: Shell) -> None:
    cluster_shell.palm("master", "--name", "foo", "-d")
    cluster_shell.palm("up", "--linger", "0")
    until(has_ended, within=30)


def test_cluster_without_linger_ends_with_the_program_that_holds_it(cluster_shell: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], env=cluster_shell.env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "held\n"
        cluster_shell.palm("master", "--name", "foo", "-d")
        cluster_shell.palm("up", "--linger", "0")
        states = json.loads(cluster_shell.palm("status", "--json").stdout)
        assert states["state"] == "alive"
        assert len(info().holders) == 1
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.wait(30) == 0
    until(has_ended, within=30)


def test_duration_that_is_none_is_refused(shell: Shell) -> None:
    done = shell.palm("up", "--linger", "soon", code=2)
    assert "'soon' is not a duration (seconds, or as in 90s, 2m, 1h30m; forever)" in done.stderr
