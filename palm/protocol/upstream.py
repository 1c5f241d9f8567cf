"""The stages before this one: it connects to them, and they hand messages over.

What they give is theirs until they release it: a message that comes again, since the one before
was started anew, has the outcome that it had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from palm.errors import PalmError
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
from palm.protocol.jobs import ClientSession
from palm.protocol.link import Identity, Link, State
from palm.protocol.passage import wire_id
from palm.protocol.sessions import SESSION_TTL
from palm.protocol.shown import shown
from palm.protocol.timers import Timer, Timers
from palm.wire.message import Message

__all__ = ["Upstream", "Upstreams"]

#: Events of connections: those of an upstream have its peer.
LINKED: Final = (Connected, Disconnected, Refused, TurnedAway, LookedUp)


class Upstream:
    """The link to one stage before this one, and what that has given.

    ``where`` is the name or the address at which it is looked for; ``identity`` says who we are
    and what we want of it.
    """

    def __init__(self, peer: bytes, where: str, identity: Identity, timers: Timers) -> None:
        self.peer = peer
        #: Effects of the link, which knows one server only.
        self.effects: list[Effect] = []
        self.link = Link(identity, timers, self.effects)
        # The same after each start, of it and of us: its messages are known by that.
        session = wire_id(b"upstream", where.encode(), *map(str.encode, identity.topics))
        self.session = ClientSession(session, identity.server, "", role="upstream")
        self.epoch = b""
        #: Runs while it is away, and while it has begun anew and may not know yet of all it gave.
        self.expiry: Timer | None = None
        self.renewal: Timer | None = None


class Upstreams:
    """All of them; effects are added to the list of the machine they serve.

    ``forget(session, links)`` is called when nobody will ask for what one of them has given, but
    for what came over ``links``.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        timers: Timers,
        effects: list[Effect],
        forget: Callable[[ClientSession, Collection[int]], None],
    ) -> None:
        self._by_peer = {upstream.peer: upstream for upstream in upstreams}
        self._timers = timers
        self._effects = effects
        self._forget = forget
        #: Why one of them will never take us.
        self.error: PalmError | None = None

    @property
    def sessions(self) -> list[ClientSession]:
        """Their sessions."""
        return [upstream.session for upstream in self._by_peer.values()]

    @property
    def are_up(self) -> bool:
        """Whether all of them are there."""
        return all(upstream.link.up for upstream in self._by_peer.values())

    def start(self, now: float) -> None:
        """Begin to look for them."""
        for upstream in self._by_peer.values():
            upstream.link.start(now)
        self.take_effects()

    def is_of(self, event: Event) -> bool:
        """Whether an event concerns one of them."""
        return isinstance(event, (Received, *LINKED)) and event.peer in self._by_peer

    def handle(self, event: Event, now: float) -> tuple[ClientSession, Message] | None:
        """React to an event; return whose message it is, if it is one for the machine."""
        if not isinstance(event, (Received, *LINKED)):
            return None
        upstream = self._by_peer[event.peer]
        was_up = upstream.link.up
        welcome = upstream.link.handle(event, [], now)
        if welcome is not None:
            self._welcomed(upstream, welcome.epoch, now)
        elif was_up and not upstream.link.up:
            self._lost(upstream, now)
        if upstream.link.state is State.FAILED:
            self.error = upstream.link.error
        if not isinstance(event, Received) or welcome is not None or not upstream.link.up:
            return None
        if event.message.link != upstream.link.id:
            return None
        return upstream.session, event.message

    def take_effects(self) -> None:
        """Put the effects of links where those of the machine are, with the peer they are for."""
        for upstream in self._by_peer.values():
            for effect in upstream.effects:
                if isinstance(effect, Send | Reconnect | Ready):
                    effect.peer = upstream.peer
            self._effects += upstream.effects
            upstream.effects.clear()

    def _welcomed(self, upstream: Upstream, epoch: bytes, now: float) -> None:
        session, link = upstream.session, upstream.link
        session.peer, session.link, session.name = upstream.peer, link.id, link.server_name
        if upstream.expiry is not None:
            upstream.expiry.cancel()
            upstream.expiry = None
        if upstream.epoch != epoch:
            session.links.clear()
        session.links.add(link.id)
        if upstream.epoch not in (b"", epoch):  # those who gave it messages may not be back yet
            if upstream.renewal is not None:
                upstream.renewal.cancel()
            upstream.renewal = self._timers.at(now + SESSION_TTL, self._renew, upstream)
        upstream.epoch = epoch
        self._effects.append(Log(logging.INFO, f"takes messages from {shown(session.name)}"))

    def _lost(self, upstream: Upstream, now: float) -> None:
        upstream.session.peer = None
        if upstream.expiry is not None:
            upstream.expiry.cancel()
        upstream.expiry = self._timers.at(now + SESSION_TTL, self._expire, upstream)

    def _expire(self, upstream: Upstream, now: float) -> None:
        upstream.expiry = None
        self._forget(upstream.session, frozenset())

    def _renew(self, upstream: Upstream, now: float) -> None:
        upstream.renewal = None
        self._forget(upstream.session, upstream.session.links)
