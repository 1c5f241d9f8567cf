"""``palm jobs``, from what a client left behind to its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from palm.cli import main
from palm.cli.arguments import ArgumentsError, build_parser
from palm.cli.commands import master as command
from palm.clients import Client
from palm.errors import JobError
from palm.runtime.folders import Folders, journal_path
from tests.cli.conftest import Shell, wait_for_line
from tests.support.cluster import ThreadCluster, until
from tests.support.fixtures import cluster

__all__ = ["cluster"]


def double(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return 2 * x


class Palm:
    """Runs ``palm`` in this process."""

    def __init__(self, output: pytest.CaptureFixture[str]) -> None:
        self._output = output
        self.errors = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """Return what a command prints; what it complains of is in ``errors``."""
        self._output.readouterr()
        found = main(words)
        printed, self.errors = self._output.readouterr()
        assert found == code, f"{words}: {found}\n{printed}{self.errors}"
        return printed

    def jobs(self, *words: str) -> list[dict[str, Any]]:
        """Return the jobs that ``palm jobs list`` has."""
        return list(json.loads(self("jobs", "list", "--json", *words))["jobs"])


@pytest.fixture
def palm(capsys: pytest.CaptureFixture[str]) -> Palm:
    return Palm(capsys)


def leave_behind(items: list[int], name: str = "foo", function: str = "double") -> str:
    """Begin a job, leave it to its master, and return its id."""
    with Client(name) as client:
        return client.job(f"{name}.{function}", items, detach=True).id


@pytest.mark.parametrize(
    "words",
    [
        *("jobs", "jobs cancel", "jobs list a b", "jobs list --master a", "jobs rm x"),
        "jobs cancel x --timeout never",
    ],
)
def test_arguments_that_make_no_sense(words: str) -> None:
    with pytest.raises(ArgumentsError):
        build_parser().parse_args(words.split())


@pytest.mark.parametrize("words", ["list foo --json", "list --json foo", "--json list foo"])
def test_options_may_stand_anywhere(words: str) -> None:
    found = build_parser().parse_args(["jobs", *words.split()])
    assert (found.action, found.master, found.json) == ("list", "foo", True)


def test_nothing_is_there_at_first(palm: Palm, cluster: ThreadCluster) -> None:
    assert palm("jobs", "list") == "no durable jobs in cluster 'default'\n"
    cluster.master()
    assert palm("jobs", "list") == "no durable jobs in cluster 'default'\n"
    assert palm("jobs", "list", "foo") == "no durable jobs at 'foo'\n"
    found = json.loads(palm("jobs", "list", "--json"))
    assert found == {"cluster": "default", "jobs": [], "not_running": []}


def test_jobs_of_all_masters_are_listed(palm: Palm, cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.master("bar")
    cluster.worker({"double": double}, "w")
    done = leave_behind(list(range(5)))
    waiting = leave_behind([1, 2], "bar")
    until(lambda: palm.jobs("foo")[0]["state"] == "done", what="foo has run its job")
    jobs = {job["id"]: job for job in palm.jobs()}
    assert [jobs[done][name] for name in ("master", "function", "accepted", "done", "failed")] == [
        *("foo", "double", 5, 5, 1)
    ]
    assert [jobs[waiting][name] for name in ("master", "state", "accepted", "done")] == [
        *("bar", "running", 2, 0)
    ]
    assert [job["id"] for job in palm.jobs("bar")] == [waiting]
    head, *rows = palm("jobs", "list", "foo").splitlines()
    assert head.split() == [
        *("ID", "FUNCTION", "STATE", "ACCEPTED", "DONE", "FAILED", "AGE", "CLIENT", "ATTACHED")
    ]
    (row,) = rows
    assert row.split()[:6] == [done, "foo.double", "done", "5", "5", "1"]
    assert row.split()[-1] == "no" and row.split()[-2].startswith("client-")


def test_cancelled_job_is_gone_and_whoever_had_it_is_told(
    palm: Palm, cluster: ThreadCluster
) -> None:
    cluster.master()
    job = cluster.client().job("foo.double", [1, 2], durable=True)
    until(lambda: job.accepted == 2, what="it is accepted")
    (found,) = palm.jobs()
    assert found["attached"] and found["id"] == job.id
    assert palm("jobs", "cancel", job.id) == f"{job.id}: cancelled\n"
    with pytest.raises(JobError, match="taken over"):
        next(job)
    assert palm.jobs() == []


def test_job_that_is_done_can_be_cancelled(palm: Palm, cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"double": double}, "w")
    ids = [leave_behind([1]), leave_behind([2])]
    until(lambda: {job["state"] for job in palm.jobs()} == {"done"}, what="they are done")
    told = json.loads(palm("jobs", "cancel", "--json", *ids, "--master", "foo"))["jobs"]
    assert told == [{"id": name, "master": "foo", "state": "cancelled"} for name in ids]
    assert palm.jobs() == []


def test_unknown_jobs_are_named_and_the_others_cancelled(
    palm: Palm, cluster: ThreadCluster
) -> None:
    cluster.master()
    known = leave_behind([1])
    printed = palm("jobs", "cancel", "ffff", known, "nonsense", "", code=3)
    assert printed == f"{known}: cancelled\n"
    assert palm.errors == "palm: no durable job 'ffff', 'nonsense', '' in cluster 'default'\n"
    palm("jobs", "cancel", known, "--master", "foo", code=3)
    assert palm.errors == f"palm: no durable job '{known}' at 'foo'\n"


def test_master_that_does_not_run_is_named_with_the_way_out(
    palm: Palm, cluster: ThreadCluster
) -> None:
    master = cluster.master()
    name = leave_behind([1])
    master.stop()
    way_out = (
        "foo does not run, and has a journal: to go on with its jobs, palm master --name foo -d\n"
    )
    assert palm("jobs", "list") == f"no durable jobs in cluster 'default'\n{way_out}"
    assert json.loads(palm("jobs", "list", "--json"))["not_running"] == ["foo"]
    palm("jobs", "list", "foo", code=1)
    assert palm.errors == f"palm: {way_out}"
    palm("jobs", "cancel", name, code=3)
    assert palm.errors == f"palm: no durable job '{name}' in cluster 'default'\n{way_out}"
    palm("jobs", "cancel", name, "--master", "fo", code=3)
    assert palm.errors == "palm: no master named 'fo' in cluster 'default'; did you mean foo?\n"
    cluster.master()
    assert palm("jobs", "cancel", name) == f"{name}: cancelled\n"


def test_master_in_the_background_opens_its_journal_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []

    def start(*given: Any) -> int:
        started.append(given)
        return 0

    monkeypatch.setattr("palm.cli.background.start", start)
    for words in ("--name foo -d --durable --pull tcp://127.0.0.1:0", "--name foo -d"):
        assert command.run(build_parser().parse_args(["master", *words.split()])) == 0
    assert started[0][3] == ["--pull", "tcp://127.0.0.1:0", "--durable"]
    assert started[1][3] == []


def test_notebook_may_ask_for_a_durable_master() -> None:
    parse = build_parser("%palm", notebook=True).parse_args
    assert parse(["master", "--name", "foo", "--durable"]).durable
    assert not parse(["master", "--name", "foo"]).durable


@pytest.mark.slow
def test_durable_master_opens_its_journal_at_the_start(shell: Shell, tmp_path: Path) -> None:
    master = shell.start("master", "--name", "foo", "--durable")
    wait_for_line(master, "ready")
    path = journal_path(Folders.find(), "foo")
    assert path.exists()
    master.terminate()
    assert master.wait(10) == 0
    path.write_bytes(b"not a database, and long enough to be looked at " * 40)
    done = shell.palm("master", "--name", "foo", "--durable", code=1)
    assert "the journal cannot be read" in done.stderr and str(path) in done.stderr
