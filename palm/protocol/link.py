"""The connecting side of a link: greet, be welcomed, notice the end, greet again.

DOWN --Connected--> GREETING --WELCOME--> UP --Disconnected--> DOWN. ZeroMQ reconnects silently,
so a greeting follows every handshake; a frame of an earlier link is ignored.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Final

from palm.errors import AuthenticationError, PalmError, ProtocolError, WireError
from palm.protocol.effects import Effect, Log, Ready, Reconnect, Send
from palm.protocol.events import (
    Connected,
    Disconnected,
    Event,
    LookedUp,
    Received,
    Refused,
    TurnedAway,
)
from palm.protocol.shown import LINE, shown
from palm.protocol.timers import Timer, Timers
from palm.wire.message import VERSION, Bye, Fault, Hello, Reset, Welcome, decode, encode

__all__ = ["Identity", "Link", "State"]

#: Codes of the faults that answer a greeting which no repetition makes better.
REFUSALS: Final = ("version", "role", "name")

#: Messages that the server may refuse before it is given up, and seconds after which one that
#: was refused does not count any more.
MAX_FAULTS, FAULT_MEMORY = 3, 60.0

#: Seconds after which a greeting that got no answer is repeated.
HELLO_DEADLINE: Final = 5.0

#: Seconds between two look-ups of the server's name: quick at first, then calm.
LOOKUP_FIRST, LOOKUP_MOST = 0.02, 0.25

#: Seconds between two log lines while nobody answers.
LOG_EVERY: Final = 10.0


class State(Enum):
    """Of a link, seen from its connecting side."""

    DOWN = "down"
    GREETING = "greeting"
    UP = "up"
    FAILED = "failed"


class Identity:
    """What a connector says of itself in HELLO; ``server`` is the name it was given to look for."""

    __slots__ = (
        "functions",
        "lease_seconds",
        "name",
        "named",
        "process",
        "role",
        "server",
        "session",
        "topics",
    )

    def __init__(
        self,
        role: str,
        name: str,
        session: bytes,
        server: str,
        functions: list[str],
        topics: list[str] | None = None,
        *,
        named: bool = False,
        lease_seconds: float = 0.0,
        process: bytes = b"",
    ) -> None:
        self.role = role
        self.name = name
        self.session = session
        self.server = server
        self.functions = functions
        self.topics = topics or []
        self.named = named
        self.lease_seconds = lease_seconds
        self.process = process


class Link:
    """State of a connector's link; its effects are added to the list of the machine it serves."""

    def __init__(
        self,
        identity: Identity,
        timers: Timers,
        effects: list[Effect],
    ) -> None:
        self.identity = identity
        self.state = State.DOWN
        self.error: PalmError | None = None
        self.id = 0
        #: The first link of our session; another one than before: it was forgotten meanwhile.
        self.birth = 0
        self.epoch = b""
        self.server_name = ""
        self.endpoints: dict[str, str] = {}
        self._timers = timers
        self._effects = effects
        self.known: tuple[str, ...] = ()
        self._found = False
        self._down_since = 0.0
        self._waits: list[Timer] = []
        self._faults = 0
        self._blamed_at = 0.0
        self._no_room = ""

    @property
    def up(self) -> bool:
        """Whether messages may be sent."""
        return self.state is State.UP

    def start(self, now: float) -> None:
        """Begin to look for the server."""
        self._go_down(now)

    def handle(self, event: Event, holds: list[int], now: float) -> Welcome | None:
        """React to what concerns the link; return the WELCOME that set it up, if this was one."""
        if self.state is State.FAILED:
            return None
        if isinstance(event, Connected):
            self._greet(holds, now)
        elif isinstance(event, Disconnected):
            self.lost(now)
        elif isinstance(event, Refused):
            self.fail(AuthenticationError(event.reason))
        elif isinstance(event, TurnedAway):
            self._turned_away(shown(event.reason, LINE))
        elif isinstance(event, LookedUp):
            self._found, self.known = event.found, event.known
            if not event.found:
                self._no_room = ""
        elif isinstance(event, Received):
            return self._receive(event, holds, now)
        return None

    def lost(self, now: float) -> None:
        """Note that the connection broke, or that the server left."""
        if self.state in (State.UP, State.GREETING):
            self._go_down(now)

    def fail(self, error: PalmError) -> None:
        """Give up for good."""
        self.state, self.error = State.FAILED, error
        self._stop_waiting()

    def _receive(self, event: Received, holds: list[int], now: float) -> Welcome | None:
        message = event.message
        if isinstance(message, Welcome):
            # A greeting that was repeated is answered twice: the latest link counts.
            if self.state in (State.GREETING, State.UP):
                self._come_up(message)
                return message
        elif isinstance(message, Reset):
            if self.up and message.link == self.id:
                self._greet(holds, now)
        elif isinstance(message, Bye):
            if self.up and message.link == self.id:
                self.lost(now)
        elif isinstance(message, Fault):
            self._blamed(message, now)
        return None

    def _blamed(self, fault: Fault, now: float) -> None:
        """Give up when what we send is refused: it would be sent, and refused, for ever."""
        text = shown(fault.text, LINE)
        if fault.code in REFUSALS:
            self.fail(ProtocolError(text))
            return
        self._faults = self._faults + 1 if now - self._blamed_at <= FAULT_MEMORY else 1
        self._blamed_at = now
        text = f"{self._who()} refuses what we send: {text}"
        if self._faults >= MAX_FAULTS:
            self.fail(ProtocolError(text))
        else:
            self._effects.append(Log(logging.WARNING, text))

    def _turned_away(self, reason: str) -> None:
        """Note that there is no room for us, and say so once: we come back until there is."""
        if not self._no_room:
            self._effects.append(Log(logging.WARNING, f"{self._who()} has no room: {reason}"))
        self._no_room = reason

    def _greet(self, holds: list[int], now: float) -> None:
        self.state, self.id = State.GREETING, 0
        me = self.identity
        hello = Hello(
            0,
            VERSION,
            me.role,
            me.name,
            me.session,
            me.server,
            me.functions,
            holds,
            self.epoch,
            me.topics,
            me.named,
            me.lease_seconds,
            me.process,
        )
        try:
            decode(encode(hello))  # what we could not read ourselves is refused each time it comes
        except WireError as error:
            self.fail(ProtocolError(f"{self._who()} could not read our greeting: {error}"))
            return
        self._effects.append(Send(b"", hello))
        self._waits.append(self._timers.at(now + HELLO_DEADLINE, self._hello_late, holds))

    def _come_up(self, welcome: Welcome) -> None:
        self.state, self.id, self.epoch = State.UP, welcome.link, welcome.epoch
        self.server_name, self.endpoints = welcome.name, welcome.endpoints
        self.birth = welcome.birth or welcome.link
        self._stop_waiting()
        self._no_room = ""
        endpoints = {shown(port): shown(at, LINE) for port, at in welcome.endpoints.items()}
        self._effects.append(Ready(shown(welcome.name), endpoints))

    def _go_down(self, now: float) -> None:
        self._stop_waiting()
        self.state, self.id, self._down_since, self._found = State.DOWN, 0, now, False
        at = self._timers.at
        self._waits.append(at(now, self._look_up, LOOKUP_FIRST))
        self._waits.append(at(now + LOG_EVERY, self._log))

    def _stop_waiting(self) -> None:
        for timer in self._waits:
            timer.cancel()
        self._waits.clear()

    # What time brings. The timers hold these.

    def _hello_late(self, holds: list[int], now: float) -> None:
        if self.state is State.GREETING:
            self._effects.append(
                Log(
                    logging.WARNING,
                    f"{self._who()} took the connection and did not answer for "
                    f"{HELLO_DEADLINE:g} s; greeting again",
                )
            )
            self._greet(holds, now)

    def _look_up(self, wait: float, now: float) -> None:
        self._waits[:] = [timer for timer in self._waits if timer.call is not None]
        if self.state is State.DOWN:
            self._effects.append(Reconnect())
        wait = min(2 * wait, LOOKUP_MOST)
        self._waits.append(self._timers.at(now + wait, self._look_up, wait))

    def _log(self, now: float) -> None:
        self._effects.append(
            Log(logging.INFO, f"{self.absence()}; waiting for {now - self._down_since:.0f} s")
        )
        self._waits.append(self._timers.at(now + LOG_EVERY, self._log))

    def absence(self) -> str:
        """Say in a sentence that nobody answers, and what does run."""
        if self._no_room:
            return f"{self._who()} has no room for us: {self._no_room}"
        if self._found:
            return f"{self._who()} does not answer"
        if self.identity.server in self.known:
            return (
                f"{self._who()} runs on another machine, and cannot be reached from this one:"
                " its node has no address (palm runner --address gives it one)"
            )
        runs = ", ".join(self.known) if self.known else "nothing"
        return f"{self._who()} does not run (running: {runs})"

    def _who(self) -> str:
        return f"'{self.identity.server}'" if self.identity.server else "the server"
