"""The cache is a dict to whoever uses it, whatever becomes of links, answers and the master."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from palm.protocol.cache import Operation
from palm.protocol.effects import Effect, Reply, Send
from palm.protocol.events import Wanted
from palm.protocol.requests import Requests
from palm.protocol.store import Store
from palm.runtime.cache import MISSING, Cache, MemoryCache
from palm.runtime.sqlitecache import SqliteCache
from palm.wire import framing
from palm.wire.batch import Batch
from palm.wire.message import Kept
from tests.support.machines import MasterBench

#: What may happen to an operation before it is answered.
TROUBLE = ("request lost", "answer lost", "sent twice")

keys = st.sampled_from(["", "a", "ab", "abc", "b", "é"])
values = st.sampled_from(
    [None, b"", b"x", 0, 1, 1.0, True, "text", [1, {"k": None}], bytes(20_000)]
)
ttls = st.none() | st.sampled_from([1.0, 5.0])
troubles = st.lists(st.sampled_from(TROUBLE), max_size=2)


class Unlucky:
    """Has operations done over links that break."""

    def __init__(self, name: str) -> None:
        self.effects: list[Effect] = []
        self.name = name
        self.troubles: list[str] = []

    def connect(self, bench: MasterBench) -> None:
        """Begin with a new session."""
        self.peer = bench.client(self.name)
        self.requests = Requests(self.effects)

    def ask(self, request: Operation, batch: Batch | None = None) -> Reply:
        replies: list[Reply] = []
        self.requests.add(Wanted(request, lambda *_: None, batch), self.peer.link)
        for trouble in self.troubles:
            if trouble != "request lost":
                self.send()
            if trouble == "sent twice":
                self.peer.inbox.clear()
                self.requests.resend(self.peer.link)
                continue
            self.effects.clear()
            self.peer = self.peer.reconnect()
            self.requests.resend(self.peer.link)
        self.troubles = []
        self.send()
        for message, value in self.peer.inbox:
            if isinstance(message, Kept):
                self.requests.answered(message, value)
        self.peer.inbox.clear()
        replies = [effect for effect in self.effects if isinstance(effect, Reply)]
        self.effects.clear()
        (reply,) = replies
        if reply.error is not None:
            raise reply.error
        return reply

    def send(self) -> None:
        for effect in [effect for effect in self.effects if isinstance(effect, Send)]:
            frames = [bytes(frame) for frame in framing.pack(effect.message, effect.batch)]
            self.peer.send(*framing.unpack(frames))
        self.effects.clear()


class CacheModel(RuleBasedStateMachine):
    """Two clients, one of them with a session, and the values of each in a dict."""

    @initialize(kind=st.sampled_from(["mapping", "memory", "sqlite"]))
    def begin(self, kind: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.now = 0.0
        self.kind = kind
        self.held: dict[str, bytes] = {}
        self.store: Store | None = None
        self.clients = [Unlucky("one"), Unlucky("two")]
        self.caches = [Cache(self.clients[0], "s/"), Cache(self.clients[1])]
        #: What there is, by the key at the master: value and end.
        self.model: dict[str, tuple[Any, float | None]] = {}
        self.start_master()

    def start_master(self) -> None:
        if self.kind == "sqlite":
            self.store = SqliteCache(Path(self.folder.name) / "c.db", wall=lambda: 1e9 + self.now)
        elif self.kind == "memory":
            self.store = MemoryCache(1 << 30)
        else:
            self.store = Store(self.held)
        self.store.open(self.now)
        self.bench = MasterBench(store=self.store)
        self.bench.now = self.now
        for client in self.clients:
            client.connect(self.bench)

    def full(self, who: int, key: str) -> str:
        return ("s/" if who == 0 else "") + key

    def there(self, who: int, prefix: str = "") -> list[str]:
        """The keys that one client sees, in order."""
        own = "s/" if who == 0 else ""
        return sorted(k.removeprefix(own) for k in self.model if k.startswith(own + prefix))

    def value(self, who: int, key: str) -> Any:
        return self.model.get(self.full(who, key), (MISSING, None))[0]

    def put(self, who: int, key: str, value: Any, ttl: float | None) -> None:
        self.model[self.full(who, key)] = (value, None if ttl is None else self.now + ttl)

    who = st.integers(0, 1)

    @rule(who=who, key=keys, value=values, ttl=ttls, troubles=troubles)
    def set(self, who: int, key: str, value: Any, ttl: float | None, troubles: list[str]) -> None:
        self.clients[who].troubles = troubles
        self.caches[who].set(key, value, ttl)
        self.put(who, key, value, ttl)

    @rule(who=who, key=keys, troubles=troubles)
    def get(self, who: int, key: str, troubles: list[str]) -> None:
        self.clients[who].troubles = troubles
        same(self.caches[who].get(key, MISSING), self.value(who, key))
        assert (key in self.caches[who]) == (self.value(who, key) is not MISSING)

    @rule(who=who, key=keys, troubles=troubles)
    def delete(self, who: int, key: str, troubles: list[str]) -> None:
        self.clients[who].troubles = troubles
        gone = raises(KeyError, lambda: self.caches[who].__delitem__(key))
        assert gone == (self.model.pop(self.full(who, key), None) is None)

    @rule(who=who, key=keys, old=values, new=values, ttl=ttls, data=st.data(), troubles=troubles)
    def cas(
        self, who: int, key: str, old: Any, new: Any, ttl: float | None,
        data: st.DataObject, troubles: list[str],
    ) -> None:  # fmt: skip
        value = self.value(who, key)
        old = data.draw(st.sampled_from([old, value, MISSING]))
        new = data.draw(st.sampled_from([new, MISSING]))
        self.clients[who].troubles = troubles
        swapped = self.caches[who].cas(key, old, new, ttl=ttl)
        assert swapped == (type(old) is type(value) and old == value)
        if swapped and new is MISSING:
            self.model.pop(self.full(who, key), None)
        elif swapped:
            self.put(who, key, new, ttl)

    @rule(who=who, prefix=keys, troubles=troubles)
    def clear(self, who: int, prefix: str, troubles: list[str]) -> None:
        self.clients[who].troubles = troubles
        there = self.there(who, prefix)
        assert self.caches[who].clear(prefix) == len(there)
        for key in there:
            del self.model[self.full(who, key)]

    @rule(who=who, key=keys, troubles=troubles)
    def pop(self, who: int, key: str, troubles: list[str]) -> None:
        self.clients[who].troubles = troubles
        same(self.caches[who].pop(key, MISSING), self.value(who, key))
        self.model.pop(self.full(who, key), None)

    @rule(who=who, key=keys, value=values)
    def setdefault(self, who: int, key: str, value: Any) -> None:
        if self.value(who, key) is MISSING:
            self.put(who, key, value, None)
        same(self.caches[who].setdefault(key, value), self.value(who, key))

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.bench.pass_time(seconds)
        self.now = self.bench.now
        over = [k for k, (_, end) in self.model.items() if end is not None and end <= self.now]
        for key in over:
            del self.model[key]

    @rule()
    def restart(self) -> None:
        assert self.store is not None
        self.store.close()
        self.start_master()
        if self.kind == "memory":
            self.model.clear()
        elif self.kind == "mapping":  # the ends were the master's, not the mapping's
            self.model = {key: (value, None) for key, (value, _) in self.model.items()}

    @invariant()
    def all_is_there(self) -> None:
        for who, cache in enumerate(self.caches):
            assert cache.list() == self.there(who)
            assert len(cache) == len(self.there(who))
        store = self.store
        assert store is not None
        store.expire(self.now)
        assert len(list(store._keys(""))) == len(self.model)
        if store.quota is not None:
            held = {key: store.get(key, self.now) or b"" for key in self.model}
            assert store.size == sum(len(key.encode()) + len(held[key]) for key in held)

    def teardown(self) -> None:
        if self.store is not None:
            self.store.close()
        self.folder.cleanup()


def same(got: Any, wanted: Any) -> None:
    assert type(got) is type(wanted)
    assert got == wanted


def raises(error: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except error:
        return True
    return False


TestCacheModel = CacheModel.TestCase
TestCacheModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
