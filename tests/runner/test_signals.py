"""Signals from the registry to processes: each once at most, whatever dies on the way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.registry_api.schema import SignalOrder
from palm.runner.signalbook import SignalBook
from tests.runner.conftest import PROLOGUE
from tests.support.nodes import House, component, eventually

COUNTS = PROLOGUE + (
    "for name in ('HUP', 'USR1'):\n"
    "    signal.signal(getattr(signal, 'SIG' + name), lambda *_, n=name: print(n, flush=True))\n"
    "print('up', flush=True)\nstop.wait(120)\n"
)
ORDERS = [SignalOrder(id="1", name="a", signal="SIGHUP"), SignalOrder(id="1", name="b", signal="x")]


def test_order_is_sent_once_also_by_the_next_runner(tmp_path: Path) -> None:
    sent: list[str] = []

    def send(order: SignalOrder) -> str:
        sent.append(order.name)
        return "it runs no more" if order.name == "b" else ""

    book = SignalBook(tmp_path / "signals.json")
    for _ in range(2):
        done = book.take(ORDERS, send)
        assert [(d.name, d.sent, d.reason) for d in done] == [
            ("a", True, ""), ("b", False, "it runs no more"),
        ]  # fmt: skip
    again = SignalBook(tmp_path / "signals.json").take(ORDERS, send)
    assert [d.reason for d in again] == ["or its runner was killed at that moment"] * 2
    assert sent == ["a", "b"]
    assert (tmp_path / "signals.json").stat().st_mode & 0o777 == 0o600


def test_nothing_is_sent_that_cannot_be_written_down(tmp_path: Path) -> None:
    def send(order: SignalOrder) -> str:
        raise AssertionError(order)

    book = SignalBook(tmp_path / "none" / "signals.json")
    with pytest.raises((OSError, ConfigError)):
        book.take(ORDERS, send)


def test_without_its_list_a_runner_sends_nothing_that_may_have_been_sent(tmp_path: Path) -> None:
    path, sent = tmp_path / "signals.json", []

    def send(order: SignalOrder) -> str:
        sent.append(order.name)
        return ""

    path.write_bytes(b"{damaged")
    path.chmod(0o600)
    book = SignalBook(path)
    assert len(book.take(ORDERS, send)) == 2
    assert sent == []
    book.take([SignalOrder(id="2", name="a", signal="SIGHUP")], send)
    assert sent == ["a"]


def test_signals_reach_processes_once_over_deaths_of_registry_and_runner(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNTS, ready="log:up", replicas=2))
    assert house.ready()

    def said(name: str) -> list[bytes]:
        return house.stdout(name).split()[1:]

    house.client.signal("default", "foo", "HUP")
    assert eventually(lambda: said("foo") == said("foo-1") == [b"HUP"])
    house.client.signal("default", "foo", "USR1", 1)
    assert eventually(lambda: said("foo-1") == [b"HUP", b"USR1"])
    # A runner that is away when it is asked for, and then another one.
    house.runner.kill()
    house.client.signal("default", "foo", "HUP", 0)
    house.runner.start()
    assert eventually(lambda: said("foo") == [b"HUP", b"HUP"])
    kinds = [event.kind for event in house.client.events("default")[0]]
    assert eventually(
        lambda: (
            [e.kind for e in house.client.events("default")[0]].count("component.signalled") == 4
        )
    ), kinds
    house.runner.kill()
    house.runner.start()
    assert house.ready()
    time.sleep(0.3)
    assert said("foo") == [b"HUP", b"HUP"]
    assert said("foo-1") == [b"HUP", b"USR1"]


def test_killed_by_a_signal_means_what_the_restart_policy_says(house: House) -> None:
    house.runner.start()
    house.client.declare("default", component("foo", COUNTS, ready="log:up"))
    assert house.ready()
    house.client.signal("default", "foo", "KILL")
    assert eventually(lambda: house.replicas("foo")[0].restarts == 1)
    assert house.ready()
