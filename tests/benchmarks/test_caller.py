from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from benchmarks import caller, work


class Echo:
    """A system of one worker, that does something else after so many results."""

    def __init__(self, after: int = 10**9, error: Exception | None = None) -> None:
        self.after = after
        self.error = error
        self.over = threading.Event()

    def stream(self, function: str, payloads: Iterable[bytes]) -> Iterator[bytes]:
        for at, payload in enumerate(payloads):
            if at == self.after:
                if self.error is not None:
                    raise self.error
                self.over.wait(10)
                return
            yield payload if function == "nap" else work.FUNCTIONS[function](payload)

    flow = stream


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    found = io.StringIO()
    monkeypatch.setattr(caller, "_answers", found)
    return found


def test_system_that_loses_nothing_finishes(answers: io.StringIO) -> None:
    found = caller.killed(Echo(), "nap", 10)
    assert found == {"outcomes": 10, "wrong": 0, "ended": "finishes"}
    assert answers.getvalue() == '{"news": "half"}\n'


def test_system_that_breaks_says_how(answers: io.StringIO) -> None:
    found = caller.killed(Echo(6, RuntimeError("a worker died")), "nap", 10)
    assert found == {"outcomes": 6, "wrong": 0, "ended": "RuntimeError"}


def test_system_without_results_for_too_long_hangs(answers: io.StringIO) -> None:
    system = Echo(6)
    found = caller.killed(system, "nap", 10, patience=0.3)
    system.over.set()
    assert found == {"outcomes": 6, "wrong": 0, "ended": "hangs"}


def test_repeated_results_are_wrong_ones(answers: io.StringIO) -> None:
    class Twice(Echo):
        def stream(self, function: str, payloads: Iterable[bytes]) -> Iterator[bytes]:
            for payload in super().stream(function, payloads):
                yield payload
                yield payload

    assert caller.killed(Twice(), "nap", 10)["wrong"] == 10


def test_what_holds_the_sender_up_counts_as_latency() -> None:
    class Late(Echo):
        def flow(self, function: str, payloads: Iterable[bytes]) -> Iterator[bytes]:
            time.sleep(0.1)
            yield from super().stream(function, payloads)

    found = caller.paced(Late(), "echo", n=20, size=16, rate=1000.0)
    assert found["max"] >= 0.1
    assert found["p50"] >= 0.08


def test_makespan_needs_all_results() -> None:
    assert caller.makespan(Echo(), [100, 200])["seconds"] >= 0.0003
    ends_early = Echo(1)
    ends_early.over.set()
    with pytest.raises(work.WrongResultsError, match="1 results of 2"):
        caller.makespan(ends_early, [100, 200])


def test_executions_are_counted_in_every_worker() -> None:
    before = caller.executions(Echo(), workers=1)["executions"]
    work.FUNCTIONS["echo"](b"x")
    assert caller.executions(Echo(), workers=1)["executions"] == before + 1
    with pytest.raises(TimeoutError, match="1 workers of 2 answered"):
        caller.executions(Echo(), workers=2, within=0.05)


def test_runs_are_told_with_the_process() -> None:
    pid, _ = work.runs(b"").split()
    assert int(pid) == os.getpid()
