"""Completion offers what fits, and leaves other lines alone."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from palm.errors import PalmError
from palm.runner.registry import ensure_registry, read_registry
from palm.runtime.folders import Folders
from palm_jupyter.completion import Completer, candidates
from tests.jupyter.conftest import Kernel, Shell
from tests.support.cluster import until
from tests.support.registry import Runner, spec


class Cluster:
    """Names, in the place of a session."""

    def names(self) -> list[str]:
        return ["foo", "foo-worker", "foo-worker-0"]

    def functions(self) -> list[str]:
        return ["foo.clean", "foo.measure", "store.add"]

    def masters(self) -> list[str]:
        return ["foo"]


def complete(line: str) -> list[str]:
    session: Any = Cluster()
    return candidates(line, session, lambda: ["LIMIT", "lines", "_hidden"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%palm ", ["--help", "attach", "dashboard", "down", "help", "hub", "logs", "master",
                    "pipeline", "restart", "scale", "server", "signal", "sink", "status", "stop",
                    "top", "up"]),
        ("%palm st", ["status", "stop"]),
        ("x = %palm st", ["status", "stop"]),
        ("%palm stop ", ["--all", "--everyone", "--help", "foo", "foo-worker", "foo-worker-0"]),
        ("%palm scale ", ["--help", "foo", "foo-worker", "foo-worker-0"]),
        ("%palm stop foo foo-", ["foo-worker", "foo-worker-0"]),
        ("%palm logs foo --g", ["--grep"]),
        ("%palm logs foo -n ", []),
        ("%palm master --p", ["--pipelined", "--pub", "--pull"]),
        ("%palm master --name x --", ["--db", "--durable", "--help", "--kernel", "--out",
                                      "--pipelined", "--pub", "--pull", "--replace", "--wpull",
                                      "--wpush"]),
        ("%palm sink w.py --name x --previous f", ["foo", "foo-worker", "foo-worker-0"]),
        ("%palm pipeline --no", ["--no-to-client"]),
        ("%palm master --name foo --n", []),
        ("%palm status ", ["--help"]),
        ("%%palm_worker f", ["foo"]),
        ("%%palm_worker foo --re", ["--replace", "--replicas"]),
        ("%%palm_worker foo --replicas ", []),
        ("%%palm_worker foo --push L", ["LIMIT"]),
        ("%%palm_worker foo --push LIMIT,l", ["LIMIT,lines"]),
        ("r = client.job('", ["foo.clean", "foo.measure", "store.add"]),
        ("client.eval( \"foo.m", ["foo.measure"]),
        ("client.job(['store.", ["store.add"]),
        ("client.job('foo.clean', '", []),
        ("palm st", []),
        ("print('%palm st", []),
        ("%palmistry st", []),
    ],
)  # fmt: skip
def test_candidates(line: str, expected: list[str]) -> None:
    assert complete(line) == expected


def test_shell_offers_them_and_nothing_else(shell: Shell) -> None:
    shell.ok("%load_ext palm_jupyter\n%palm master --name foo;")
    completer = shell.shell.Completer
    assert texts(completer, "%palm st") == {"status", "stop"}
    until(lambda: texts(completer, "%palm stop f") == {"foo"})
    assert texts(completer, "%%palm_worker ") >= {"foo", "--replicas"}
    assert "upper" in texts(completer, "'a'.upp") or ".upper" in texts(completer, "'a'.upp")


def test_functions_are_offered_where_they_are_called(shell: Shell) -> None:
    shell.ok("%load_ext palm_jupyter\n%palm master --name foo")
    shell.ok("%%palm_worker foo\ndef measure(x):\n    return x\n")
    completer = shell.shell.Completer
    until(lambda: texts(completer, "client.job('foo.m") == {"foo.measure"})
    assert not texts(completer, "open('foo.m") & {"foo.measure"}


def test_completion_is_prompt_also_while_the_registry_is_away(shell: Shell) -> None:
    shell.ok("%load_ext palm_jupyter\n%palm master --name foo;")
    magics = shell.shell.magics_manager.registry["PalmMagics"]
    session = magics.session
    until(lambda: session.names() == ["foo"])
    times = []

    def away() -> None:
        threading.Event().wait(0.5)
        raise PalmError("the registry does not answer")

    session.cluster.status = away
    try:
        for _ in range(5):
            began = time.perf_counter()
            assert candidates("%palm logs f", session, list) == ["foo"]
            times.append(time.perf_counter() - began)
        lookers = [each for each in threading.enumerate() if each.name == "palm-look"]
        assert len(lookers) <= 1, "one looks, however often it is asked"
    finally:
        del session.cluster.status
    assert min(times) < 0.05, times


def texts(completer: Any, line: str) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # IPython calls its completion provisional
        return {completion.text for completion in completer.completions(line, len(line))}


def test_older_shells_are_served_by_a_hook(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object) -> None:
        raise ImportError

    monkeypatch.setattr("palm_jupyter.completion._matcher", missing)
    session: Any = Cluster()
    completer = Completer(shell.shell, session)
    hooks = shell.shell.strdispatchers["complete_command"]
    before = len(hooks.regexs)
    completer.add()
    assert len(hooks.regexs) == before + 1
    completer.remove()
    assert len(hooks.regexs) == before


COMPONENTS = 100


@pytest.fixture
def crowd(cluster_name: str) -> Iterator[list[str]]:
    """Names of many components that are said to run."""
    with ensure_registry(Folders.find()) as client:
        client.create_cluster(cluster_name)
        runner = Runner(client, cluster_name, "crowd").join()
        names = [f"w-{number:03}" for number in range(COMPONENTS)]
        for name in names:
            client.declare(cluster_name, spec(name))
        runner.run_all()
        yield names
        client.leave(cluster_name, runner.name)


def matches(kernel: Kernel, typed: str) -> list[str]:
    answer = kernel.client.complete(f"%palm logs {typed}", reply=True, timeout=10)
    return list(answer["content"]["matches"])


def completions(kernel: Kernel, names: list[str]) -> list[float]:
    """Ask for each of them, and check the answers; seconds of each."""
    times = []
    for name in names:
        expected = [each for each in names if each.startswith(name[:-1])]
        began = time.perf_counter()
        found = matches(kernel, name[:-1])
        times.append(time.perf_counter() - began)
        assert set(found) >= set(expected)
    return sorted(times)


@pytest.mark.slow
@pytest.mark.no_leak_check("threads", "descriptors")  # of the kernel's client
@pytest.mark.parametrize("end", ["", ";"], ids=["with a panel", "without"])
def test_kernel_completes_at_once_also_while_the_registry_is_frozen(
    crowd: list[str], kernel: Kernel, end: str
) -> None:
    kernel.ok(f"%load_ext palm_jupyter\n%palm attach {Folders.find().cluster}{end}")
    record = read_registry(Folders.find())
    assert record is not None
    until(lambda: matches(kernel, crowd[-1]))  # who has no panel looks at first
    answered = completions(kernel, crowd)
    os.kill(record.pid, signal.SIGSTOP)
    try:
        frozen = completions(kernel, crowd)
    finally:
        os.kill(record.pid, signal.SIGCONT)
    for what, times in (("answers", answered), ("is frozen", frozen)):
        middle, late = 1000 * times[50], 1000 * times[98]
        print(f"the registry {what}: median {middle:.1f} ms, p99 {late:.1f} ms")
    # A person does not notice 50 ms; machines that are busy take longer.
    assert answered[50] < 0.25 and frozen[50] < 0.25
