"""The card of a job: what is told of it, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from palm import Client
from palm_jupyter.jobs import JobWatch, describe
from palm_jupyter.render import job_html, job_text
from tests.support.cluster import until
from tests.support.local import SharedRegistry

EVIL = "<img src=x onerror=alert(1)>"
WORKER = """%%palm_worker foo --replicas 2
import threading, time
def double(x):
    time.sleep(0.002)
    if x % 100 == 7:
        raise ValueError(x)
    return 2 * x
def nap(x):
    time.sleep(x)
"""


class Card:
    """Stands in for the widget."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    def update(self, job: Mapping[str, Any]) -> None:
        self.told.append(job)


@pytest.fixture
def client(shell: Any, shared_registry: SharedRegistry) -> Iterator[Client]:
    shell.ok("%load_ext palm_jupyter\n%palm master --name foo;")
    shell.ok(WORKER)
    with Client("foo") as client:
        yield client


@pytest.mark.slow
def test_card_follows_a_job_that_nobody_iterates_and_ends_with_it(client: Client) -> None:
    job = client.job("foo.double", range(1000), errors="return")
    card = Card()
    watch = JobWatch(job, card.update)
    watch.start()
    until(lambda: card.told and not card.told[-1]["live"], within=60)
    watch.close()
    last = card.told[-1]
    assert (last["state"], last["done"], last["failed"], last["total"]) == ("done", 1000, 10, 1000)
    workers = {each["name"]: each for each in last["workers"]}
    assert set(workers) == {"foo-worker-0", "foo-worker-1"}
    assert sum(each["done"] for each in workers.values()) == 1000
    assert sum(each["failed"] for each in workers.values()) == 10
    assert sum(each["seconds"] for each in workers.values()) >= 1000 * 0.002
    assert [told["live"] for told in card.told].count(False) == 1


@pytest.mark.slow
def test_card_of_a_job_that_was_cancelled_says_so_and_a_closed_one_is_told_nothing(
    client: Client,
) -> None:
    job = client.job("foo.nap", [0.05] * 500)
    card, closed = Card(), Card()
    watch, other = JobWatch(job, card.update), JobWatch(job, closed.update)
    watch.start()
    other.start()
    until(lambda: closed.told)
    other.close()
    count = len(closed.told)
    job.cancel()
    until(lambda: card.told[-1]["state"] == "cancelled")
    watch.close()
    assert len(closed.told) == count
    assert card.told[-1]["live"] is False


@pytest.mark.slow
def test_job_is_shown_as_a_card_with_a_snapshot(client: Client, shell: Any) -> None:
    shell.shell.user_ns["job"] = client.job("foo.double", range(7)).collect()
    assert describe(shell.shell.user_ns["job"])["state"] == "done"
    assert "job foo.double: done, 7/7 done" in job_text(describe(shell.shell.user_ns["job"]))


def test_snapshot_of_a_job_escapes_what_comes_from_outside() -> None:
    job = {
        "function": EVIL, "state": "failed", "time": 0.0, "total": 4, "done": 2, "failed": 1,
        "retried": 1, "rate": 3.0, "error": EVIL,
    }  # fmt: skip
    html = job_html(job)
    assert "<img" not in html and "2 of 4 done, 1 failed, 1 retried" in html
    assert "width:50.0%" in html
    assert "width:" not in job_html({**job, "total": None}).split("max-width")[0]
