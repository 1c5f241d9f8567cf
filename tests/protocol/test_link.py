"""The connecting side of a link."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from palm.errors import ProtocolError
from palm.protocol.effects import Log, Reconnect, Send
from palm.protocol.events import (
    Connected,
    Disconnected,
    Event,
    LookedUp,
    Received,
    Refused,
    TurnedAway,
)
from palm.protocol.link import (
    FAULT_MEMORY,
    HELLO_DEADLINE,
    LOG_EVERY,
    MAX_FAULTS,
    Identity,
    Link,
    State,
)
from palm.protocol.timers import Timers
from palm.wire.message import VERSION, Bye, Fault, Hello, Reset, Welcome

WELCOME = Welcome(7, VERSION, b"epoch", "foo", {}, [])


class Bench:
    """A link, its timers and its effects."""

    def __init__(self, server: str = "foo", functions: Sequence[str] = ()) -> None:
        self.now = 0.0
        self.effects: list[object] = []
        self.timers = Timers()
        identity = Identity("client", "c", b"s" * 16, server, list(functions))
        self.link = Link(identity, self.timers, self.effects)  # type: ignore[arg-type]
        self.link.start(0.0)

    def handle(self, event: Event) -> object:
        return self.link.handle(event, [], self.now)

    def receive(self, message: object) -> object:
        return self.handle(Received(b"", message))  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.timers.next_deadline) is not None and due <= until:
            self.now = max(self.now, due)
            self.timers.run(self.now)
        self.now = until

    def all(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def texts(self) -> list[str]:
        return [log.text for log in self.all(Log)]


@pytest.fixture
def link() -> Bench:
    return Bench()


def test_server_that_is_away_is_looked_for_quickly_and_then_calmly(link: Bench) -> None:
    link.pass_time(0.2)
    assert len(link.all(Reconnect)) >= 3
    link.effects.clear()
    link.pass_time(10.0)
    assert 30 <= len(link.all(Reconnect)) <= 50


def test_it_says_every_ten_seconds_what_it_waits_for(link: Bench) -> None:
    link.handle(LookedUp(False, ("bar", "baz")))
    link.pass_time(LOG_EVERY * 2 + 1)
    assert link.texts() == [
        "'foo' does not run (running: bar, baz); waiting for 10 s",
        "'foo' does not run (running: bar, baz); waiting for 20 s",
    ]
    link.handle(LookedUp(True))
    link.pass_time(LOG_EVERY)
    assert link.texts()[-1] == "'foo' does not answer; waiting for 30 s"


def test_server_that_runs_where_nobody_reaches_it_is_not_said_to_be_missing(link: Bench) -> None:
    link.handle(LookedUp(False, ("bar", "foo")))
    assert link.link.absence() == (
        "'foo' runs on another machine, and cannot be reached from this one: its node has no"
        " address (palm runner --address gives it one)"
    )


def test_server_without_a_name_is_called_the_server() -> None:
    assert Bench(server="").link.absence() == "the server does not run (running: nothing)"


def test_waiting_for_days_takes_no_memory(link: Bench) -> None:
    link.pass_time(1000.0)
    few = len(link.link._waits), len(link.timers._heap)
    link.pass_time(10_000.0)
    assert (len(link.link._waits), len(link.timers._heap)) == few
    link.handle(Connected())
    link.pass_time(1000.0)
    assert len(link.link._waits) < 10
    assert len(link.timers._heap) < 10


def test_each_handshake_is_greeted(link: Bench) -> None:
    for number in range(1, 4):
        link.handle(Connected())
        hellos = [send for send in link.all(Send) if isinstance(send.message, Hello)]
        assert len(hellos) == number
        assert link.link.state is State.GREETING


def test_greeting_without_an_answer_is_repeated_and_logged(link: Bench) -> None:
    link.handle(Connected())
    link.pass_time(HELLO_DEADLINE + 0.1)
    assert len(link.all(Send)) == 2
    assert "did not answer for 5 s" in link.texts()[-1]
    assert link.all(Log)[-1].level == logging.WARNING


def test_no_greeting_is_missed_before_the_handshake(link: Bench) -> None:
    link.pass_time(100.0)
    assert not link.all(Send)


def test_welcome_brings_it_up(link: Bench) -> None:
    link.handle(Connected())
    assert link.receive(WELCOME) is WELCOME
    assert link.link.up and link.link.id == 7
    link.pass_time(100.0)
    assert len(link.all(Send)) == 1 and not link.texts()
    assert link.timers.next_deadline is None


def test_welcome_that_nobody_asked_for_is_ignored(link: Bench) -> None:
    assert link.receive(WELCOME) is None
    assert link.link.state is State.DOWN


@pytest.mark.parametrize("number", [0, 6, 8])
def test_reset_or_bye_of_another_link_is_ignored(link: Bench, number: int) -> None:
    link.handle(Connected())
    link.receive(WELCOME)
    link.receive(Reset(number))
    link.receive(Bye(number, "it stops"))
    assert link.link.up


def test_server_that_leaves_is_looked_for_again(link: Bench) -> None:
    link.handle(Connected())
    link.receive(WELCOME)
    link.effects.clear()
    link.receive(Bye(7, "it stops"))
    assert link.link.state is State.DOWN and link.link.id == 0
    link.pass_time(0.1)
    assert link.all(Reconnect)


def test_greeting_that_nobody_could_read_is_not_sent() -> None:
    link = Bench(functions=["f" * 1000] * 300)
    link.handle(Connected())
    assert not link.all(Send)
    assert link.link.state is State.FAILED
    assert isinstance(link.link.error, ProtocolError)
    assert "header" in str(link.link.error)


def test_server_that_refuses_what_comes_again_and_again_is_given_up(link: Bench) -> None:
    for round_ in range(MAX_FAULTS):
        link.handle(Connected())
        link.receive(WELCOME)
        assert link.link.state is State.UP
        link.receive(Fault(0, "broken", f"no header\n{round_}"))
    assert link.link.state is State.FAILED
    assert str(link.link.error) == "'foo' refuses what we send: no header\\n2"
    warnings = [log.text for log in link.all(Log) if log.level == logging.WARNING]
    assert warnings == [f"'foo' refuses what we send: no header\\n{at}" for at in (0, 1)]


def test_what_was_refused_long_ago_does_not_count(link: Bench) -> None:
    link.handle(Connected())
    link.receive(WELCOME)
    for _ in range(3 * MAX_FAULTS):
        link.receive(Fault(0, "broken", "no header"))
        link.pass_time(FAULT_MEMORY + 1.0)
    assert link.link.state is State.UP


@pytest.mark.parametrize("code", ["version", "role", "name"])
def test_refusal_is_final(link: Bench, code: str) -> None:
    link.handle(Connected())
    link.receive(Fault(0, code, "you may not"))
    assert link.link.state is State.FAILED
    assert isinstance(link.link.error, ProtocolError)
    link.effects.clear()
    for event in (Connected(), Disconnected(), Received(b"", WELCOME), Refused("no")):
        link.handle(event)
    link.pass_time(100.0)
    assert link.effects == []


def test_complaint_about_one_message_is_no_refusal(link: Bench) -> None:
    link.handle(Connected())
    link.receive(WELCOME)
    link.receive(Fault(0, "broken", "no header"))
    assert link.link.up


def test_break_during_the_greeting_is_a_break(link: Bench) -> None:
    link.handle(Connected())
    link.handle(Disconnected())
    assert link.link.state is State.DOWN
    link.pass_time(HELLO_DEADLINE + 1.0)
    assert len(link.all(Send)) == 1


def test_a_link_without_room_says_so_once_and_comes_up_when_there_is_some(link: Bench) -> None:
    for _ in range(3):
        link.handle(Connected())
        link.handle(Disconnected())
        link.handle(TurnedAway("it may have 9 files open"))
    assert link.texts() == ["'foo' has no room: it may have 9 files open"]
    assert link.link.absence() == "'foo' has no room for us: it may have 9 files open"
    assert link.link.state is State.DOWN
    link.handle(Connected())
    assert link.receive(WELCOME) is WELCOME
    link.handle(Disconnected())
    assert "room" not in link.link.absence()


def test_a_server_that_left_since_is_said_not_to_run(link: Bench) -> None:
    link.handle(TurnedAway("it may have 9 files open"))
    link.handle(LookedUp(False, ("bar",)))
    assert link.link.absence() == "'foo' does not run (running: bar)"
