"""What peers write cannot forge or hide a line of the log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ProtocolError
from palm.protocol.effects import Log, Note, Ready
from palm.protocol.events import Connected, Garbled
from palm.protocol.shown import LINE, WORD, shown
from palm.wire.message import VERSION, Bye, Fault, Notice, Welcome
from tests.protocol.test_client import Bench as ClientBench
from tests.support.machines import MasterBench, Peer, payloads

EVIL = "w\n2026-01-01 - foo - INFO - ready\x1b[2J\x9b\r\u202e\udc80\0"
LONG = "w" * 100_000

BAD_NAMES = ["", "two words", "a.b", "w\n", "\u0661", "w" * 65, EVIL, LONG]


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def lines(bench: MasterBench) -> list[str]:
    """The log of the master."""
    found = [effect.text for effect in bench.effects if isinstance(effect, Log)]
    for line in found:
        assert line.isprintable() and len(line) < 2 * LINE, line[:200]
    return found


@given(st.text(max_size=200))
def test_what_is_shown_is_one_line_that_hides_nothing(text: str) -> None:
    line = shown(text)
    assert line.isprintable() and len(line) <= WORD + 3
    if text.isprintable() and len(text) <= WORD:
        assert line == text


def test_what_is_shown_is_escaped_and_cut() -> None:
    assert shown("a\n\x1b[0m\u202e\udc80") == "a\\n\\x1b[0m\\u202e\\udc80"
    assert shown("x" * WORD) == "x" * WORD
    assert shown("x" * (WORD + 1)) == "x" * WORD + "..."
    assert shown("\n" * 10**6, 5) == "\\n\\n\\..."


@pytest.mark.parametrize("role", ["client", "worker"])
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:12]))
def test_name_that_no_component_can_have_is_refused(
    bench: MasterBench, role: str, name: str
) -> None:
    peer = Peer(bench, role, name, b"s" * 16)
    peer.hello(functions=["f"])
    ((fault, _),) = peer.inbox
    assert isinstance(fault, Fault) and fault.code == "name"
    assert fault.text.isprintable() and len(fault.text) < 2 * WORD
    assert peer.session not in bench.master._clients and not bench.master._sessions.workers
    assert lines(bench) == []


def test_refusal_of_a_name_is_final_for_who_has_it() -> None:
    bench = ClientBench()
    bench.submit(1)
    bench.handle(Connected())
    bench.receive(Fault(0, "name", "no\nname"))
    assert isinstance(bench.machine.link.error, ProtocolError)
    assert str(bench.machine.link.error) == "no\\nname"


@pytest.mark.parametrize("text", [EVIL, LONG], ids=["evil", "long"])
def test_what_a_worker_says_is_shown_and_no_more(bench: MasterBench, text: str) -> None:
    worker = bench.worker("w", ["f", text, *map(str, range(5000))])
    worker.send(Bye(0, text))
    joined, left = lines(bench)
    assert joined.startswith("worker w joined, serves f, w")
    assert left.startswith("worker w left: w")


@pytest.mark.parametrize("text", [EVIL, LONG], ids=["evil", "long"])
def test_what_a_client_asks_for_is_shown_and_no_more(bench: MasterBench, text: str) -> None:
    client = bench.client()
    client.submit(b"one", payloads(1), function=text)
    bench.pass_time(3.0)
    (notice,) = client.take(Notice)
    (line,) = lines(bench)
    assert notice.text == line
    bench.worker("w", [f"{text}2"])
    bench.pass_time(3.0)
    ((_, payload),) = client.outcomes().values()
    assert len(payload) < 4 * LINE and b"\n" not in payload


@pytest.mark.parametrize("reason", [EVIL, LONG], ids=["evil", "long"])
def test_reason_of_a_strike_is_shown_and_no_more(bench: MasterBench, reason: str) -> None:
    bench.handle(Garbled(bench.client().id, reason))
    assert len(lines(bench)) == 1


@pytest.mark.parametrize("text", [EVIL, LONG], ids=["evil", "long"])
def test_what_a_master_says_is_shown_and_no_more(text: str) -> None:
    bench = ClientBench()
    bench.handle(Connected())
    bench.receive(Welcome(1, VERSION, b"e", text, {text: text}, []))
    bench.receive(Notice(1, b"", text))
    (ready,), (note,) = bench.all(Ready), bench.all(Note)
    said: list[Any] = [ready.name, note.text, *ready.endpoints, *ready.endpoints.values()]
    for line in said:
        assert line.isprintable() and len(line) < 2 * LINE
