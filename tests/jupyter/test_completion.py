"""Completion offers what fits, and leaves other lines alone."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from palm_jupyter.completion import Completer, candidates
from tests.jupyter.conftest import Shell


class Cluster:
    """Names, in the place of a session."""

    def names(self) -> list[str]:
        return ["foo", "foo-worker", "foo-worker-0"]

    def masters(self) -> list[str]:
        return ["foo"]


def complete(line: str) -> list[str]:
    session: Any = Cluster()
    return candidates(line, session, lambda: ["LIMIT", "lines", "_hidden"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%palm ", ["--help", "attach", "dashboard", "down", "help", "hub", "logs", "master",
                    "pipeline", "restart", "server", "sink", "status", "stop", "top", "up"]),
        ("%palm st", ["status", "stop"]),
        ("x = %palm st", ["status", "stop"]),
        ("%palm stop ", ["--all", "--everyone", "--help", "foo", "foo-worker", "foo-worker-0"]),
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
    assert texts(completer, "%palm stop f") == {"foo"}
    assert texts(completer, "%%palm_worker ") >= {"foo", "--replicas"}
    assert "upper" in texts(completer, "'a'.upp") or ".upper" in texts(completer, "'a'.upp")


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
