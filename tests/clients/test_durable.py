"""Durable jobs, with a cluster in this process: they outlive their client and their master."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client, Job
from palm.clients.window import MAX_MESSAGES
from palm.errors import (
    ConfigError,
    ConnectTimeout,
    DeadlineExceeded,
    JobError,
    PalmError,
    TaskError,
)
from palm.protocol import durability
from palm.runtime.folders import journal_path
from palm.servers import Master, Worker
from tests.support.cluster import Served, ThreadCluster, interrupted, is_waited_for, until
from tests.support.smalldisk import fill

Serve = Callable[..., Client]

JOURNALED = pytest.mark.parametrize("kind", ["durable", "detach"])


def double(value: int) -> int:
    if value % 10 == 3:
        raise ValueError(f"no {value}")
    return 2 * value


def seen(results: Any) -> list[Any]:
    """Results, and errors in a form that can be compared."""
    return [
        (type(each).__name__, each.index, str(each)) if isinstance(each, PalmError) else each
        for each in results
    ]


def jobs(client: Client) -> list[dict[str, Any]]:
    """What is in the journal, without what differs from run to run."""
    frame = client.durable_jobs().drop(columns=["began", "client"])
    return frame.to_dict("records")


class Gate:
    """A function that waits, until it is let go, from the message ``closed_at`` on."""

    def __init__(self, closed_at: int = 0) -> None:
        self.begun: Counter[int] = Counter()
        self.open = threading.Event()
        self._closed_at = closed_at

    def wait(self, value: int) -> int:
        self.begun[value] += 1
        if value >= self._closed_at:
            assert self.open.wait(30)
        return 2 * value


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


class Held:
    """Numbers from ``first`` to ``stop``, and more when it may ``go_on``; of unknown length."""

    def __init__(self, first: int, stop: int, then: int = 0) -> None:
        self.go_on = threading.Event()
        self._parts = (range(first, stop), range(stop, then))

    def __iter__(self) -> Iterator[int]:
        yield from self._parts[0]
        self.go_on.wait(30)
        yield from self._parts[1]


@pytest.fixture
def held() -> Iterator[Callable[..., Held]]:
    made: list[Held] = []

    def make(first: int, stop: int, then: int = 0) -> Held:
        made.append(Held(first, stop, then))
        return made[-1]

    yield make
    for each in made:
        each.go_on.set()


# Outcomes


@JOURNALED
def test_results_are_those_of_any_other_job(foo: Serve, kind: str) -> None:
    client = foo(double)
    plain = client.job("foo.double", range(500), ordered=True, errors="return")
    kept = client.job("foo.double", range(500), ordered=True, errors="return", **{kind: True})
    assert seen(kept) == seen(plain)
    assert kept.state == "done" and kept.accepted == 500 and plain.accepted == 0
    assert kept.progress.failed == 50
    assert kept.failures["error"].tolist() == plain.failures["error"].tolist()
    columns = ["result", "worker", "attempts", "error"]
    frames = [job.to_frame(errors="return")[columns].astype(str) for job in (kept, plain)]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("item", [0, 3])
def test_job_of_one_message_is_in_the_journal(foo: Serve, item: int) -> None:
    client = foo(double)
    for source in ([item], iter([item])):
        job = client.job("foo.double", source, durable=True, errors="return")
        found = seen(job)
        assert len(found) == 1 and job.state == "done"
        assert seen(client.resume(job.id, errors="return")) == found


def test_job_of_nothing_is_done(foo: Serve) -> None:
    client = foo(double)
    for source in ([], iter([])):
        job = client.job("foo.double", source, durable=True)
        assert list(job) == [] and job.wait(20) and job.state == "done"


@JOURNALED
def test_resume_gives_every_outcome_again_in_order(foo: Serve, kind: str) -> None:
    client = foo(double)
    job = client.job("foo.double", range(3000), errors="return", **{kind: True})
    first = seen(job)
    for again in (client, Client("foo")):
        resumed = again.resume(job.id, errors="return")
        assert (resumed.id, resumed.function) == (job.id, "foo.double")
        assert seen(resumed) == first
        assert resumed.state == "done" and len(resumed) == resumed.accepted == 3000
        assert resumed.progress.failed == 300
    again.close()
    ordered = client.resume(job.id, errors="coerce", ordered=True)
    assert list(ordered) == [None if n % 10 == 3 else 2 * n for n in range(3000)]
    frame = client.resume(job.id).to_frame(errors="return")
    assert frame["error"].notna().sum() == 300
    with pytest.raises(TaskError, match="no 3"):
        client.resume(job.id).to_frame()


def test_large_payloads_come_back(foo: Serve) -> None:
    def identity(value: bytes) -> bytes:
        return value

    client = foo(identity)
    items = [bytes([at]) * size for at, size in enumerate([1, 20_000, 3_000_000, 0, 70_000])]
    job = client.job("foo.identity", items, durable=True, ordered=True)
    assert list(job) == items
    assert list(client.resume(job.id, ordered=True)) == items


@pytest.mark.parametrize("options", [{}, {"at_most_once": True}, {"retries": 2}], ids=repr)
def test_what_cannot_be_sent_has_its_failure_in_the_journal(
    foo: Serve, options: dict[str, Any]
) -> None:
    client = foo(double)
    lock = threading.Lock()
    items = [0, lock, 2, lock, lock, 5, 6, lock]
    job = client.job("foo.double", items, durable=True, errors="return", ordered=True, **options)
    first = seen(job)
    assert [each for each in first if isinstance(each, int)] == [0, 4, 10, 12]
    assert [each[1] for each in first if isinstance(each, tuple)] == [1, 3, 4, 7]
    assert all("cannot be sent" in each[2] for each in first if isinstance(each, tuple))
    assert seen(client.resume(job.id, errors="return", ordered=True)) == first
    assert jobs(client)[0]["failed"] == 4


def test_journal_lists_its_jobs_the_latest_first(foo: Serve, gate: Gate, held: Any) -> None:
    client = foo(double, gate.wait)
    assert client.durable_jobs().empty
    done = client.job("foo.double", range(20), durable=True, errors="return").collect()
    open_ = client.job("foo.double", held(0, 20), durable=True, errors="return")
    until(lambda: open_.progress.done == 20)
    client.job("foo.double", [1]).collect()
    running = client.job("foo.wait", range(5), detach=True)
    until(lambda: running.accepted == 5)
    found = jobs(client)
    columns = ("job", "function", "state", "accepted", "done", "failed", "attached")
    assert [tuple(row[c] for c in columns) for row in found] == [
        (running.id, "wait", "running", 5, 0, 0, True),
        (open_.id, "double", "open", 20, 20, 2, True),
        (done.id, "double", "done", 20, 20, 2, False),
    ]
    frame = client.durable_jobs()
    assert frame["began"].is_monotonic_decreasing and str(frame["began"].dt.tz) == "UTC"
    assert set(frame["client"]) == {f"client-{client.uuid[:8]}"}


def test_list_that_is_too_long_for_a_message_says_so(
    foo: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(durability, "MAX_LIST", 250)
    client = foo(double)
    made = [client.job("foo.double", [at], durable=True).collect().id for at in range(8)]
    found = client.durable_jobs()["job"].tolist()
    assert 0 < len(found) < 8 and found == made[::-1][: len(found)]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"{8 - len(found)} older durable jobs are not listed" in warning


# Resuming


def test_second_client_takes_a_job_over(foo: Serve, gate: Gate) -> None:
    first = foo(gate.wait)
    job = first.job("foo.wait", range(50), durable=True)
    until(lambda: job.accepted == 50)
    with Client("foo") as second:
        resumed = second.resume(job.id)
        with pytest.raises(
            JobError, match=rf"client-{second.uuid[:8]}.* has taken over .*{job.id}"
        ):
            list(job)
        assert job.state == "failed"
        gate.open.set()
        assert sorted(resumed) == [2 * n for n in range(50)]
    assert set(gate.begun.values()) == {1}
    assert sorted(first.resume(job.id)) == [2 * n for n in range(50)]


def test_source_of_a_client_that_lost_its_job_is_left_alone(foo: Serve, held: Any) -> None:
    first = foo(double)
    source = held(0, 3, then=6)
    job = first.job("foo.double", source, durable=True)
    until(lambda: job.accepted == 3)
    with Client("foo") as second:
        resumed = second.resume(job.id, range(5), errors="return")
        until(lambda: job.state == "failed")
        source.go_on.set()
        assert len(list(resumed)) == 5
        assert jobs(second)[0]["accepted"] == 5


def test_client_that_resumes_its_own_job_loses_the_earlier_one(foo: Serve, gate: Gate) -> None:
    client = foo(gate.wait)
    job = client.job("foo.wait", range(50), durable=True)
    until(lambda: job.accepted == 50)
    resumed = client.resume(job.id)
    with pytest.raises(JobError, match="resumed"):
        list(job)
    gate.open.set()
    assert sorted(resumed) == [2 * n for n in range(50)]


def test_client_that_resumes_its_own_job_takes_one_source_only(foo: Serve, held: Any) -> None:
    client = foo(double)
    sources = [held(0, n, then=n + 2) for n in (2, 5)]
    job = client.job("foo.double", sources[0], durable=True)
    until(lambda: job.accepted == 2)
    resumed = client.resume(job.id, sources[1], errors="return")
    for source in sources:
        source.go_on.set()
    assert len(list(resumed)) == 7
    assert jobs(client)[0]["accepted"] == 7


def rest(kind: str, asked: list[int]) -> Any:
    """Give the numbers up to 100 as a caller of ``resume`` may."""
    if kind == "list":
        return list(range(100))
    if kind == "generator":
        return (number for number in range(100))
    if kind == "iterator":
        return iter(range(100))

    def following(accepted: int) -> Any:
        asked.append(accepted)
        found = list(range(accepted, 100))
        return found if kind == "callable" else iter(found)

    return following


@pytest.mark.parametrize(
    "kind", ["list", "generator", "iterator", "callable", "callable of an iterator"]
)
def test_resume_goes_on_where_the_first_client_was(foo: Serve, held: Any, kind: str) -> None:
    client = foo(double)
    job = client.job("foo.double", held(0, 40), durable=True, errors="return")
    first = seen(itertools.islice(job, 40))
    assert job.accepted == 40
    asked: list[int] = []
    with Client("foo") as other:
        resumed = other.resume(job.id, rest(kind, asked), errors="return")
        if kind in ("list", "callable"):
            assert len(resumed) == 100, "it is known from the beginning"
        results = seen(resumed)
    assert results[:40] == first
    assert sorted(map(str, results)) == sorted(
        map(str, seen(client.job("foo.double", range(100), errors="return")))
    )
    assert asked == ([40] if "callable" in kind else [])
    assert resumed.accepted == len(resumed) == 100


def test_frame_of_a_resumed_job_has_the_index_of_its_items(foo: Serve, held: Any) -> None:
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(range(9), index=list("abcdefghi"))
    client = foo(double)
    job = client.job("foo.double", held(0, 4), durable=True)
    until(lambda: job.accepted == 4)
    frame = client.resume(job.id, series, errors="return").to_frame()
    assert frame.index.tolist() == list("abcdefghi")
    assert frame["result"].dropna().tolist() == [2 * n for n in range(9) if n != 3]


def test_resume_without_items_ends_with_what_is_there(foo: Serve, held: Any) -> None:
    client = foo(double)
    job = client.job("foo.double", held(0, 20), durable=True)
    until(lambda: job.accepted == 20)
    with Client("foo") as other:
        resumed = other.resume(job.id, errors="return")
        assert len(list(resumed)) == len(resumed) == 20
        until(lambda: jobs(other)[0]["state"] == "done")
        assert len(list(other.resume(job.id, range(1000), errors="return"))) == 20


def test_items_of_a_job_that_has_them_all_are_not_taken(foo: Serve) -> None:
    client = foo(double)
    job = client.job("foo.double", [1, 2], durable=True).collect()

    def never(accepted: int) -> Any:
        raise AssertionError("it was asked for items")

    assert list(client.resume(job.id, never)) == [2, 4]
    assert list(client.resume(job.id, iter([]))) == [2, 4]


def test_source_that_has_less_than_was_accepted_is_no_loss(foo: Serve, held: Any) -> None:
    client = foo(double)
    job = client.job("foo.double", held(0, 20), durable=True)
    until(lambda: job.accepted == 20)
    results = list(client.resume(job.id, range(5), errors="return"))
    assert len(results) == 20


def test_error_of_the_source_is_raised_and_the_job_stays(foo: Serve, held: Any) -> None:
    client = foo(double)

    def broken() -> Iterator[int]:
        yield from range(2)
        raise OSError("no more")

    job = client.job("foo.double", broken(), durable=True)
    with pytest.raises(OSError, match="no more"):
        list(job)
    assert [row["accepted"] for row in jobs(client)] == [2]


@pytest.mark.parametrize("job", ["", "zz", "abc", None, 5, b"\x01" * 8, "00" * 65])
def test_what_is_no_id_cannot_be_resumed(foo: Serve, job: Any) -> None:
    client = foo(double)
    client.job("foo.double", [1], durable=True).collect()
    with pytest.raises(ConfigError, match="is no id of a job"):
        client.resume(job)


def test_unknown_job_cannot_be_resumed(foo: Serve) -> None:
    client = foo(double)
    plain = client.job("foo.double", [1]).collect()
    for job in ("0123456789abcdef", plain.id):
        with pytest.raises(JobError, match=rf"'foo' has no durable job {job}.*durable_jobs"):
            client.resume(job)


def test_resume_with_what_cannot_be_used_is_refused_before_it_takes_over(
    foo: Serve, held: Any
) -> None:
    client = foo(double)
    job = client.job("foo.double", held(0, 2), durable=True)
    until(lambda: job.accepted == 2)
    with Client("foo") as other:
        for arguments in ({"items": "text"}, {"items": 5}, {"errors": "maybe"}, {"key": 5}):
            with pytest.raises(ConfigError):
                other.resume(job.id, **{"items": [], **arguments})
        assert job.state == "running"
        with pytest.raises(ZeroDivisionError):  # it is called when it is known with what
            other.resume(job.id, lambda accepted: 1 // 0)
        assert sorted(other.resume(job.id)) == [0, 2]


def test_nothing_can_be_resumed_without_a_master(palm_home: Path) -> None:
    with Client("nobody", connect_timeout=0.1) as client:
        for question in (lambda: client.resume("00"), client.durable_jobs):
            with pytest.raises(ConnectTimeout):
                question()


def test_closed_client_resumes_nothing(foo: Serve) -> None:
    client = foo(double)
    client.close()
    for question in (lambda: client.resume("00"), client.durable_jobs, client.wait_for_workers):
        with pytest.raises(PalmError, match="closed"):
            question()


# Its end, wanted or not


@JOURNALED
def test_cancelled_job_is_forgotten(foo: Serve, gate: Gate, kind: str) -> None:
    client = foo(gate.wait)
    job = client.job("foo.wait", range(2000), **{kind: True})
    until(lambda: job.accepted)
    job.cancel()
    assert job.state == "cancelled" and client.durable_jobs().empty
    gate.open.set()
    with pytest.raises(JobError, match="no durable job"):
        client.resume(job.id)
    assert client.eval("foo.wait", 3) == 6, "the worker has nothing else to do"


def test_job_that_is_done_is_forgotten_when_it_is_resumed_and_cancelled(
    foo: Serve, held: Any
) -> None:
    client = foo(double)
    job = client.job("foo.double", held(0, 2), durable=True)
    until(lambda: job.accepted == 2)
    with Client("foo") as other:
        other.resume(job.id, held(0, 2)).cancel()
        assert other.durable_jobs().empty
    with pytest.raises(JobError):
        list(job)


def test_job_that_was_cancelled_without_a_master_is_forgotten_by_the_next(
    cluster: ThreadCluster, gate: Gate
) -> None:
    served = cluster.master()
    cluster.worker({"wait": gate.wait})
    client = cluster.client()
    job = client.job("foo.wait", range(20), durable=True)
    until(lambda: job.accepted == 20)
    gate.open.set()
    served.stop()
    job.cancel()
    cluster.master()
    until(lambda: client.durable_jobs().empty)


def test_interrupt_leaves_a_durable_job_alone(
    foo: Serve, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    client = foo(gate.wait)
    job = client.job("foo.wait", range(20), durable=True)
    for wait in (job.wait, lambda: next(job)):
        with pytest.raises(KeyboardInterrupt), interrupted(lambda: is_waited_for(job)):
            wait()
    assert job.state == "running"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"foo.wait: job {job.id} goes on at its master; job.cancel() ends it"] * 2
    gate.open.set()
    assert sorted(job) == [2 * n for n in range(20)]


def test_close_hands_a_list_over(foo: Serve, gate: Gate) -> None:
    client = foo(gate.wait)
    items = list(range(3 * MAX_MESSAGES))
    job = client.job("foo.wait", items, durable=True)
    client.close()
    assert job.accepted == len(items)
    with pytest.raises(PalmError, match=rf"the job goes on: resume\('{job.id}'\)"):
        list(job)
    gate.open.set()
    with Client("foo") as other:
        assert jobs(other)[0]["state"] != "open"
        assert sorted(other.resume(job.id)) == [2 * n for n in items]
    assert set(gate.begun.values()) == {1}


def test_close_does_not_end_a_generator(foo: Serve, held: Any) -> None:
    client = foo(double)
    source = held(0, 20, then=30)
    job = client.job("foo.double", source, durable=True, errors="return")
    until(lambda: job.accepted == 20)
    client.close()
    source.go_on.set()
    with Client("foo") as other:
        (row,) = jobs(other)
        assert (row["state"], row["accepted"], row["attached"]) == ("open", 20, False)
        assert len(list(other.resume(job.id, range(30), errors="return"))) == 30


def test_close_of_a_job_that_was_given_up_waits_for_nothing(palm_home: Path) -> None:
    client = Client("nobody", connect_timeout=0.1)
    job = client.job("nobody.f", range(10), durable=True)
    with pytest.raises(ConnectTimeout):
        list(job)
    client.close()


def test_job_of_a_closed_client_keeps_what_it_had(foo: Serve) -> None:
    client = foo(double)
    job = client.job("foo.double", range(30), durable=True, errors="return").collect()
    client.close()
    assert len(list(job)) == 30 and job.state == "done"


# A caller who takes nothing


@JOURNALED
def test_caller_who_takes_nothing_gets_a_window_and_the_rest_later(foo: Serve, kind: str) -> None:
    def text(value: int) -> str:
        return f"{value:200d}"

    client = foo(text)
    n = 5 * MAX_MESSAGES
    job = client.job("foo.text", range(n), **{kind: True})
    with Client("foo") as other:
        until(
            lambda: [job["done"] for job in jobs(other)] == [n],
            within=60,
            what="the master goes on",
        )
    # A question is answered after all that was sent before it.
    client.durable_jobs()
    assert job.progress.done < 2 * MAX_MESSAGES
    assert sum(chunk.n for chunk in job._chunks) == job.progress.done
    taken = list(map(int, itertools.islice(job, 100)))
    assert len(job._kept) <= len(job._chunks) + 2 * MAX_MESSAGES
    assert sorted([*taken, *map(int, job)]) == list(range(n))


def test_caller_of_large_results_gets_bytes_within_bounds(foo: Serve) -> None:
    def blow_up(value: int) -> bytes:
        return bytes(1 << 20)

    client = foo(blow_up)
    job = client.job("foo.blow_up", range(64), durable=True)
    until(lambda: jobs(client)[0]["done"] == 64, within=60)
    assert sum(chunk.size for chunk in job._chunks) < 40 << 20
    assert [len(result) for result in job] == [1 << 20] * 64


# Other options


def test_failures_are_tried_again(foo: Serve) -> None:
    starts: Counter[int] = Counter()

    def flaky(value: int) -> int:
        starts[value] += 1
        if starts[value] < 3 and value % 2:
            raise ConnectionResetError(f"try {starts[value]}")
        return value

    client = foo(flaky)
    job = client.job("foo.flaky", range(10), durable=True, retries=2, retry_on=OSError)
    assert job.to_frame()["attempts"].tolist() == [1, 3] * 5
    assert client.resume(job.id).to_frame()["attempts"].tolist() == [1, 3] * 5
    assert starts == {n: 3 if n % 2 else 1 for n in range(10)}


def test_deadline_gives_each_item_of_a_list_an_outcome(foo: Serve, gate: Gate) -> None:
    client = foo(gate.wait)
    job = client.job("foo.wait", range(300), durable=True, deadline=0.3, errors="return")
    results = list(job)
    assert {type(each) for each in results} == {DeadlineExceeded}
    assert sorted(each.index for each in results) == list(range(300))
    assert all("0.3 s" in each.text for each in results)
    assert job.state == "done" and len(job) == job.accepted == 300
    assert seen(client.resume(job.id, errors="return")) == seen(results)


def test_deadline_ends_an_endless_generator(foo: Serve) -> None:
    def identity(value: int) -> int:
        return value

    client = foo(identity)
    job = client.job("foo.identity", itertools.count(), durable=True, deadline=0.3, errors="return")
    results = list(job)
    assert job.state == "done" and len(job) == len(results) == job.accepted
    assert {type(each) for each in results} <= {int, DeadlineExceeded}
    assert jobs(client)[0]["state"] == "done"


def test_deadline_ends_a_job_whose_source_does_not_go_on(foo: Serve, held: Any) -> None:
    client = foo(double)
    job = client.job("foo.double", held(0, 2), durable=True, deadline=0.5)
    assert list(job) == [0, 2] and job.state == "done"


def test_urgent_job_overtakes(foo: Serve, gate: Gate) -> None:
    order: list[int] = []

    def note(value: int) -> None:
        order.append(value)

    client = foo(gate.wait, note)
    blocker = client.job("foo.wait", [0])
    until(lambda: gate.begun)
    calm = client.job("foo.note", [0] * 3, durable=True)
    urgent = client.job("foo.note", [1] * 3, durable=True, priority=1)
    until(lambda: calm.accepted == urgent.accepted == 3)
    gate.open.set()
    for job in (blocker, calm, urgent):
        job.collect()
    assert order == [1, 1, 1, 0, 0, 0]


def test_messages_that_may_not_run_twice_run_once(foo: Serve) -> None:
    starts: Counter[int] = Counter()

    def note(value: int) -> int:
        starts[value] += 1
        return value

    client = foo(note)
    job = client.job("foo.note", range(3000), durable=True, at_most_once=True, ordered=True)
    assert list(job) == list(range(3000))
    assert list(client.resume(job.id, range(3000), ordered=True)) == list(range(3000))
    assert starts == Counter(range(3000))


def test_as_many_messages_as_were_wanted(foo: Serve) -> None:
    client = foo(double)
    job = client.job("foo.double", itertools.count(4), 6, durable=True)
    assert sorted(job) == [8, 10, 12, 14, 16, 18]
    assert jobs(client)[0]["state"] == "done"
    assert len(list(client.resume(job.id, itertools.count(4)))) == 6


class Keyed:
    """Notes the order in which the items of each key run, and whether two of them overlap."""

    def __init__(self) -> None:
        self.order: dict[str, list[int]] = {}
        self.overlaps: list[str] = []
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, item: dict[str, Any]) -> int:
        key = item["key"]
        with self._lock:
            self._running[key] += 1
            self.overlaps.extend([key] * (self._running[key] > 1))
            self.order.setdefault(key, []).append(item["n"])
        time.sleep(0.0005)  # the work, during which another would overlap
        with self._lock:
            self._running[key] -= 1
        return item["n"]


def test_messages_of_a_key_run_in_order_also_when_the_job_is_resumed(
    cluster: ThreadCluster, held: Any
) -> None:
    cluster.master()
    keyed = Keyed()
    for name in ("w0", "w1", "w2"):
        cluster.worker({"note": keyed.note}, name)
    items = [{"key": "abcde"[n % 5], "n": n} for n in range(300)]
    first = cluster.client()
    go_on = held(0, 150)
    job = first.job("foo.note", (items[n] for n in go_on), durable=True, key="key")
    until(lambda: job.accepted == 150)
    resumed = cluster.client().resume(job.id, items, key="key", ordered=True)
    assert list(resumed) == list(range(300))
    assert len(set(resumed.to_frame()["worker"])) > 1
    assert not keyed.overlaps
    assert all(numbers == sorted(numbers) for numbers in keyed.order.values())
    assert sum(map(len, keyed.order.values())) == 300


def test_item_without_a_key_is_an_error_of_its_own(foo: Serve) -> None:
    def identity(value: Any) -> Any:
        return value

    client = foo(identity)
    items = [{"k": 1}, {}, {"k": []}, {"k": 2}]
    options = {"durable": True, "key": "k", "ordered": True, "errors": "return"}
    results = list(client.job("foo.identity", items, **options))
    assert results[0] == {"k": 1} and results[3] == {"k": 2}
    assert [error.type for error in results[1:3]] == ["KeyError", "TypeError"]


# Every option together with every other

OPTIONS: dict[str, dict[str, Any]] = {
    "messages": {"messages": 25},
    "ordered": {"ordered": True},
    "errors": {"errors": "return"},
    "timeout": {"timeout": 30.0},
    "deadline": {"deadline": 60.0},
    "retries": {"retries": 1, "retry_on": KeyError},
    "key": {"key": lambda value: value % 3},
    "priority": {"priority": 1},
    "at_most_once": {"at_most_once": True},
    "durable": {"durable": True},
    "detach": {"detach": True},
}


def fragile(value: int) -> int:
    if value % 10 == 3:
        raise KeyError(value)
    return 2 * value


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    """A client of a cluster that all pairs of options share."""
    cluster = ThreadCluster()
    cluster.master("pairs")
    for name in ("w0", "w1"):
        cluster.worker({"fragile": fragile}, name, "pairs")
    client = cluster.client("pairs")
    client.job("pairs.fragile", [0], durable=True).collect()  # its journal is open from here on
    yield client
    cluster.close()


@pytest.mark.parametrize("pair", list(itertools.combinations(OPTIONS, 2)), ids="-".join)
@pytest.mark.parametrize("sized", [True, False], ids=["list", "generator"])
def test_options_go_together(shared: Client, pair: tuple[str, str], sized: bool) -> None:
    options = {**OPTIONS[pair[0]], **OPTIONS[pair[1]]}
    items = range(30) if sized else iter(range(30))
    if set(pair) == {"retries", "at_most_once"}:
        with pytest.raises(ConfigError, match="retries together with at_most_once"):
            shared.job("pairs.fragile", items, **options)
        return
    job = shared.job("pairs.fragile", items, **options)
    n = options.get("messages", 30)
    expected = [None if value % 10 == 3 else 2 * value for value in range(n)]
    check_results(outcomes_of(job), expected, options)
    assert job.state == "done" and len(job) == n and job.progress[:2] == (n, expected.count(None))
    frame = job.to_frame(errors="coerce")
    tries = [options.get("retries", 0) + 1 if value is None else 1 for value in expected]
    assert frame["attempts"].tolist() == tries
    assert job.accepted == (n if job.journaled else 0)
    if job.journaled:
        again = shared.resume(job.id, errors=options.get("errors", "raise"))
        check_results(outcomes_of(again), expected, {**options, "ordered": False})


def outcomes_of(job: Job) -> list[Any]:
    """Iterate a job to its end, over the errors that it raises."""
    found: list[Any] = []
    while True:
        try:
            found.append(next(job))
        except StopIteration:
            return found
        except TaskError as error:
            found.append(error)


def check_results(found: list[Any], expected: list[Any], options: dict[str, Any]) -> None:
    plain = [None if isinstance(each, TaskError) else each for each in found]
    failed = sorted(each.index for each in found if isinstance(each, TaskError))
    assert failed == [at for at, value in enumerate(expected) if value is None]
    if options.get("ordered"):
        assert plain == expected
    else:
        assert Counter(plain) == Counter(expected)


# Masters


def restart(cluster: ThreadCluster, served: Served) -> Served:
    served.stop()
    return cluster.master(served.component.name)


@JOURNALED
def test_job_goes_on_over_restarts_of_its_master(cluster: ThreadCluster, kind: str) -> None:
    def slow(value: int) -> int:
        time.sleep(0.001)
        return double(value)

    served = cluster.master()
    cluster.worker({"slow": slow}, "w0")
    cluster.worker({"slow": slow}, "w1")
    client = cluster.client()
    job = client.job("foo.slow", iter(range(600)), errors="return", **{kind: True})
    for part in (1, 2, 3):
        until(lambda part=part: job.progress.done > part * 100)
        served = restart(cluster, served)
    results = seen(job)
    assert len(results) == 600 and job.progress[:2] == (600, 60)
    assert {each for each in results if isinstance(each, int)} == {
        2 * n for n in range(600) if n % 10 != 3
    }
    assert seen(client.resume(job.id, errors="return")) == results


def test_new_master_and_new_client_have_all_of_it(cluster: ThreadCluster) -> None:
    served = cluster.master()
    cluster.worker({"double": double})
    first = cluster.client()
    job = first.job("foo.double", range(300), durable=True, errors="return")
    results = seen(job)
    first.close()
    restart(cluster, served)
    client = cluster.client()
    (row,) = jobs(client)
    assert row["failed"] == 30 and row["state"] == "done"
    assert seen(client.resume(job.id, errors="return")) == results


def test_messages_without_a_worker_wait_in_the_journal(cluster: ThreadCluster) -> None:
    served = cluster.master()
    first = cluster.client()
    job = first.job("foo.double", range(3 * MAX_MESSAGES), durable=True)
    first.close()
    restart(cluster, served)
    cluster.worker({"double": lambda value: 2 * value})
    results = list(cluster.client().resume(job.id))
    assert sorted(results) == [2 * n for n in range(3 * MAX_MESSAGES)]


def test_master_without_its_name_refuses_durable_jobs(cluster: ThreadCluster) -> None:
    cluster.master("foo")
    address = cluster.master("foo", db_address="tcp://127.0.0.1:0").component.endpoints["db"]
    cluster.worker({"double": double}, "w", address)
    client = cluster.client("foo", address)
    for options in ({"durable": True}, {"detach": True}):
        job = client.job("foo.double", range(20), **options)  # type: ignore[arg-type]
        with pytest.raises(
            JobError, match="'foo' keeps no journal: another component has its name"
        ):
            list(job)
        assert job.state == "failed"
    assert client.durable_jobs().empty
    assert client.eval("foo.double", 2) == 4
    assert cluster.client("foo").durable_jobs().empty


def test_durable_master_without_its_name_does_not_start(cluster: ThreadCluster) -> None:
    cluster.master("foo")
    with pytest.raises(ConfigError, match="foo"):
        Master("foo", db_address="tcp://127.0.0.1:0", durable=True).start()


def test_durable_master_opens_its_journal_at_the_start(cluster: ThreadCluster) -> None:
    path = journal_path(cluster.folders, "foo")
    cluster.master("bar")
    assert list(path.parent.iterdir()) == []
    cluster.master("foo", durable=True)
    assert path.exists()


@pytest.mark.parametrize("durable", [True, False])
def test_master_does_not_start_over_a_damaged_journal(
    cluster: ThreadCluster, durable: bool
) -> None:
    path = journal_path(cluster.folders, "foo")
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match="journal cannot be read"):
        Master("foo", durable=durable).start()
    path.unlink()
    cluster.master("foo")


def test_full_disk_is_waited_for(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PALM_STATE_DIR", str(small_disk / "state"))
    cluster = ThreadCluster()
    try:
        cluster.master(durable=True)
        cluster.worker({"size": len})
        client = cluster.client()
        ballast = fill(small_disk)
        job = client.job("foo.size", [bytes(2000)] * 200, durable=True)
        plain = client.job("foo.size", [b"xy"] * 100)
        assert list(plain) == [2] * 100, "others go on"
        trouble = "foo.size: the journal of 'foo' cannot be written: "
        with pytest.raises(KeyboardInterrupt), interrupted(lambda: trouble in caplog.text):
            job.wait()
        assert job.accepted < 200
        ballast.unlink()
        assert list(job) == [2000] * 200
    finally:
        (small_disk / "ballast").unlink(missing_ok=True)  # else it is waited for
        cluster.close()


def test_master_can_be_stopped_while_its_disk_is_full(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PALM_STATE_DIR", str(small_disk / "state"))
    cluster = ThreadCluster()
    try:
        served = cluster.master(durable=True)
        cluster.worker({"size": len})
        client = cluster.client()
        ballast = fill(small_disk)
        job = client.job("foo.size", [bytes(2000)] * 200, durable=True)
        until(lambda: "the journal cannot be written" in caplog.text)
        served.stop()
        ballast.unlink()
        cluster.master(durable=True)
        assert list(job) == [2000] * 200
    finally:
        (small_disk / "ballast").unlink(missing_ok=True)  # else it is waited for
        cluster.close()


# Workers that are waited for


def test_workers_that_are_there_are_not_waited_for(foo: Serve) -> None:
    client = foo(double)
    assert client.wait_for_workers() == client.wait_for_workers(1, timeout=20) == 1


def test_workers_that_come_later_are_waited_for(cluster: ThreadCluster) -> None:
    cluster.master()
    client = cluster.client()
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(client.wait_for_workers(n, 30)))
        for n in (2, 1, 2)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(client._questions._open) == 3)
    for name in ("w0", "w1"):
        cluster.worker(Worker(name, master="foo", functions={"double": double}))
    for thread in threads:
        thread.join(20)
    assert sorted(found) in ([1, 2, 2], [2, 2, 2])


def test_workers_of_a_master_that_is_not_there_yet_are_waited_for(cluster: ThreadCluster) -> None:
    client = cluster.client()
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(client.wait_for_workers(timeout=30)))
    thread.start()
    until(lambda: client._questions._open)
    cluster.master()
    cluster.worker({"double": double})
    thread.join(20)
    assert found == [1]


def test_workers_that_never_come_are_not_waited_for_for_ever(foo: Serve) -> None:
    client = foo(double)
    with pytest.raises(ConnectTimeout, match=r"'foo' has fewer than 2 workers after 0\.1 s"):
        client.wait_for_workers(2, timeout=0.1)
    assert client.wait_for_workers(1, timeout=20) == 1


def test_workers_of_no_master_are_not_waited_for(palm_home: Path) -> None:
    with (
        Client("nobody", connect_timeout=0.1) as client,
        pytest.raises(ConnectTimeout, match="nobody"),
    ):
        client.wait_for_workers()


@pytest.mark.parametrize("n", [0, -1])
def test_number_of_workers_is_positive(foo: Serve, n: int) -> None:
    with pytest.raises(ConfigError, match=f"n={n}"):
        foo(double).wait_for_workers(n)
