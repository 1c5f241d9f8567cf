"""``palm dead-letters``, from the poisoned message to its replay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palm.cli.arguments import ArgumentsError, build_parser
from palm.clients import Client
from palm.errors import PoisonTask
from palm.runtime.deadletters import DeadLetters, Letter
from palm.runtime.folders import Folders
from tests.cli.conftest import Shell
from tests.support.cluster import ProcessCluster
from tests.support.fixtures import processes

__all__ = ["processes"]

WORKER = """
import os
from pathlib import Path

def work(value):
    if not Path("cured").exists():
        os.kill(os.getpid(), 9)
    return value * 2
"""
START = "Worker({!r}, master='foo', functions={{'work': work}})"


@pytest.mark.parametrize(
    "command", [["list", "x"], ["list", "--all"], ["replay"], ["remove", "x", "--all"], ["rm", "x"]]
)
def test_arguments_that_make_no_sense(command: list[str]) -> None:
    with pytest.raises(ArgumentsError):
        build_parser().parse_args(["dead-letters", *command])


def test_options_may_stand_before_the_ids() -> None:
    found = build_parser().parse_args(["dead-letters", "replay", "--timeout", "5", "x"])
    assert (found.action, found.timeout, found.ids) == ("replay", 5.0, ["x"])


def test_nothing_is_there_at_first(shell: Shell) -> None:
    assert shell.palm("dead-letters", "list").stdout == "no dead letters in cluster 'default'\n"
    done = shell.palm("dead-letters", "remove", "x", code=3)
    assert done.stderr == "palm: no dead letter 'x' in cluster 'default'\n"
    assert json.loads(shell.palm("--json", "dead-letters", "list").stdout)["letters"] == []


@pytest.mark.slow
def test_poisoned_message_is_kept_and_can_be_sent_again(
    shell: Shell, processes: ProcessCluster
) -> None:
    master = processes.master()
    with Client("foo") as client:
        job = client.job("foo.work", [("a", 1)], errors="return")
        for number in range(4):
            script = processes.worker(WORKER, START.format(f"w{number}"))
            assert script.wait() == -9
        (error,) = job
    assert isinstance(error, PoisonTask) and error.attempts == 4
    master.wait_for("dead letter")
    (letter,) = json.loads(shell.palm("--json", "dead-letters", "list").stdout)["letters"]
    assert (letter["function"], letter["index"], letter["attempts"]) == ("work", 0, 4)
    table = shell.palm("dead-letters", "list").stdout.splitlines()
    assert len(table) == 2 and table[1].startswith(letter["id"]) and "foo.work" in table[1]
    Path(processes.folder, "cured").touch()
    processes.worker(WORKER, START.format("healthy"))
    done = shell.palm("dead-letters", "replay", letter["id"])
    assert done.stdout == f"{letter['id']}: done, ('a', 1, 'a', 1)\n"
    assert DeadLetters.of(Folders.find()).letters() == []


@pytest.mark.slow
def test_what_fails_again_stays(shell: Shell, processes: ProcessCluster) -> None:
    letters = DeadLetters.of(Folders.find())
    kept = Letter("foo", "nope", "ab", 0, 3, 0, "c", "it ended 3 workers")
    letters.add(kept, b"x")
    processes.master()
    processes.worker(WORKER, START.format("w"))
    done = shell.palm("dead-letters", "replay", "--all", code=1)
    assert done.stdout.startswith(f"{kept.id}: failed, FunctionNotFound")
    assert letters.letters() == [kept]
    assert shell.palm("dead-letters", "remove", "--all").stdout == f"{kept.id}: removed\n"
    assert letters.letters() == []
