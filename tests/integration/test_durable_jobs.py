"""Durable jobs on real processes: F10 of the failure model, client and master lost together."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import DeadlineExceeded, MasterLost, WorkerLost
from tests.support.cluster import ProcessCluster, Script, until
from tests.support.fixtures import processes

__all__ = ["processes"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: Notes each start, and answers with a number that no other start has.
WORKER = """
import os, time

def note(value):
    fd = os.open("starts", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{value}\\n".encode())
    os.close(fd)
    time.sleep(0.001)
    return [value, 2 * value, os.urandom(6).hex()]
"""

#: Begins a job, or goes on with it, up to an item after which its source gives nothing more;
#: writes each outcome to a file as it comes.
CLIENT = """
import json, sys, threading
from pathlib import Path
from palm.clients import Client

number, upto, options = {number}, {upto}, {options!r}

def source(accepted):
    Path(f"from-{{number}}").write_text(str(accepted))
    yield from range(accepted, upto)
    threading.Event().wait()

client = Client("foo")
if number:
    job = client.resume(Path("job").read_text(), source, errors="return")
else:
    job = client.job("foo.note", source(0), errors="return", durable=True, **options)
    Path("job").write_text(job.id)
with open(f"seen-{{number}}", "a", buffering=1) as file:
    for outcome in job:
        file.write(json.dumps(outcome if isinstance(outcome, list) else repr(outcome)) + "\\n")
"""

#: Messages of a job, and those that come from each client that is killed.
TOTAL = 2_000
PART = 500


def lines(path: Path) -> list[str]:
    """Lines that were written to their end: a killed process may leave half of one."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def worker(cluster: ProcessCluster, name: str) -> Script:
    return cluster.worker(WORKER, f"Worker({name!r}, master='foo', functions={{'note': note}})")


def kill(*scripts: Script) -> None:
    """Kill them before any of them can react to the end of another."""
    for script in scripts:
        script.process.kill()
    for script in scripts:
        script.wait()


def shown(outcomes: Iterator[Any]) -> list[Any]:
    return [each if isinstance(each, list) else repr(each) for each in outcomes]


def lose_clients_and_masters(processes: ProcessCluster, **options: Any) -> list[list[Any]]:
    """Kill client and master three times, and a worker once; return what each client saw.

    The last client goes on to the end; the others came about as far as the middle of their part.
    """
    folder = processes.folder
    master = processes.master()
    workers = [worker(processes, name) for name in ("w0", "w1", "w2")]
    known = 0
    for number in range(3):
        upto = (number + 1) * PART
        client = processes.run(CLIENT.format(number=number, upto=upto, options=options))
        seen = folder / f"seen-{number}"
        until(
            lambda seen=seen, enough=known + PART // 3: len(lines(seen)) >= enough,
            within=60,
            what=f"client {number} sees enough: {client.output}",
        )
        victims = [client, master] if number % 2 else [master, client]
        kill(*victims, *(workers[:1] if number == 1 else []))
        known = len(lines(seen))
        master = processes.master()
    with Client("foo") as last:
        (row,) = last.durable_jobs().to_dict("records")
        assert (row["state"], row["attached"]) == ("open", False)
        assert known <= row["accepted"] <= 3 * PART < TOTAL, "there is something to go on with"
        starts: list[int] = []

        def source(accepted: int) -> Iterator[int]:
            starts.append(accepted)
            return iter(range(accepted, TOTAL))

        job = last.resume((folder / "job").read_text(), source, errors="return")
        final = shown(iter(job))
        assert starts == [row["accepted"]] and job.accepted == TOTAL
        assert (job.state, len(job)) == ("done", TOTAL)
        frame = job.to_frame(errors="return")
        assert len(frame) == TOTAL, "each message has one outcome"
        (row,) = last.durable_jobs().to_dict("records")
        assert (row["state"], row["done"], row["failed"]) == ("done", TOTAL, job.progress.failed)
        assert shown(iter(last.resume(job.id, errors="return"))) == final
    accepted = [int((folder / f"from-{number}").read_text()) for number in range(3)] + starts
    assert accepted[0] == 0 and accepted == sorted(accepted)
    assert all(known <= (at + 1) * PART for at, known in enumerate(accepted[1:]))
    return [[json.loads(line) for line in lines(folder / f"seen-{n}")] for n in range(3)] + [final]


def test_f10_client_and_master_that_are_lost_lose_no_outcome_and_double_none(
    processes: ProcessCluster,
) -> None:
    *earlier, final = lose_clients_and_masters(processes)
    assert sorted((value, doubled) for value, doubled, _ in final) == [
        (value, 2 * value) for value in range(TOTAL)
    ]
    for seen in earlier:
        assert len(seen) >= PART // 3
        assert seen == final[: len(seen)], "what was seen before stays as it was"
    starts = Counter(map(int, (processes.folder / "starts").read_text().split()))
    assert set(starts) == set(range(TOTAL))
    assert sum(starts.values()) < 2 * TOTAL


def test_f10_message_that_may_not_run_twice_does_not_whoever_is_lost(
    processes: ProcessCluster,
) -> None:
    *earlier, final = lose_clients_and_masters(processes, at_most_once=True)
    for seen in earlier:
        assert seen == final[: len(seen)], "what was seen before stays as it was"
    results = {each[0]: each[1] for each in final if isinstance(each, list)}
    lost = [each for each in final if isinstance(each, str)]
    assert len(results) + len(lost) == TOTAL
    assert all(doubled == 2 * value for value, doubled in results.items())
    assert all(each.startswith((MasterLost.__name__, WorkerLost.__name__)) for each in lost), lost
    starts = Counter(map(int, (processes.folder / "starts").read_text().split()))
    assert set(starts.values()) == {1}
    assert set(results) <= set(starts)
    assert set(range(3 * PART, TOTAL)) <= set(results), "those of the last client had no loss"


HANGING = """
import time

def nap(seconds):
    time.sleep(seconds)
    return seconds
"""


def test_durable_call_that_takes_too_long_ends_and_the_others_go_on(
    processes: ProcessCluster,
) -> None:
    processes.master()
    processes.worker(HANGING, "Worker('w0', master='foo', functions={'nap': nap})")
    began = time.monotonic()
    with Client("foo") as client:
        naps = [0.0, 60.0, 0.001, 0.0]
        options: dict[str, Any] = {"ordered": True, "errors": "return"}
        job = client.job("foo.nap", naps, timeout=0.5, durable=True, **options)
        results = list(job)
        again = list(client.resume(job.id, **options))
    assert time.monotonic() - began < 30
    assert [results[0], *results[2:]] == [0.0, 0.001, 0.0]
    assert isinstance(results[1], DeadlineExceeded) and "0.5 s" in results[1].text
    assert list(map(repr, again)) == list(map(repr, results))
