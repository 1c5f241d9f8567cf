"""Messages of every kind: one example of each, and Hypothesis strategies for any."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from palm.wire import message as messages
from palm.wire.batch import Batch
from palm.wire.message import Message
from palm.wire.outcome import Kind

#: Every kind of message.
KINDS: tuple[type[Message], ...] = tuple(Message.__subclasses__())

#: Kinds that are followed by a batch of ``n`` payloads, and those with one value or none.
RANGED = (
    messages.Submit,
    messages.Outcome,
    messages.Task,
    messages.Result,
    messages.Seen,
)
VALUED = (messages.Keep, messages.Kept)


def durations(n: int, seconds: float = 0.001) -> bytes:
    """What `Result.durations` holds when each message took the same time."""
    return struct.pack(f"<{n}f", *[seconds] * n)


numbers = st.integers(0, 5) | st.integers(0, (1 << 63) - 1)
names = st.sampled_from(["", "foo", "foo.f", "test.f", "a.b.c", "f"]) | st.text(max_size=5)
ids = st.sampled_from([b"", b"a", b"b", b"c"]) | st.binary(max_size=16)
lists_of_numbers = st.lists(numbers, max_size=4)
codecs = st.integers(0, 2) | st.integers(0, 255)

terms = st.builds(
    messages.Terms,
    timeout=st.sampled_from([0.0, 1.0]) | st.floats(),
    deadline=st.sampled_from([0.0, 1.0]) | st.floats(),
    remaining=st.sampled_from([0.0, 1.0]) | st.floats(),
    retries=st.integers(0, 3) | numbers,
    retry_on=st.lists(names, max_size=3),
    priority=st.integers(-2, 2) | st.integers(-(1 << 63), (1 << 63) - 1),
    at_most_once=st.booleans(),
    durable=st.booleans(),
    detach=st.booleans(),
)

routes = st.builds(
    messages.Route,
    stage=st.integers(0, 3),
    client=names,
    cache=names,
    only=names,
    function=names,
    job=ids,
)

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "version": st.just(messages.VERSION) | st.integers(0, 9),
    "role": st.sampled_from(["client", "worker", "stage", "inner", "observer", ""]),
    "name": names,
    "session": ids,
    "server": names,
    "functions": st.lists(names, max_size=3),
    "holds": lists_of_numbers,
    "epoch": ids,
    "endpoints": st.dictionaries(names, names, max_size=2),
    "keep": lists_of_numbers,
    "job": ids,
    "first": st.integers(0, 12) | numbers,
    "n": st.integers(0, 4),
    "function": names,
    "codec": codecs,
    "last": st.booleans(),
    "serial": numbers,
    "attempt": st.integers(0, 5),
    "worker": names,
    "started": st.floats(width=32),
    "text": names,
    "lease": st.integers(0, 9),
    "leases": lists_of_numbers,
    "op": numbers,
    "key": names,
    "delete": st.booleans(),
    "ttl": st.sampled_from([0.0, 1.0]) | st.floats(),
    "expected": st.integers(-1, 2) | st.integers(-1, 255),
    "prefix": names,
    "after": names,
    "only": st.booleans(),
    "count": numbers,
    "found": st.booleans(),
    "reason": names,
    "code": st.sampled_from(["broken", "role", "version", "other"]),
    "timeout": st.sampled_from([0.0, 1.0]) | st.floats(),
    "terms": st.none() | terms,
    "partitions": st.just(b""),
    "may_have_begun": st.booleans(),
    "at_most_once": st.booleans(),
    "alone": st.booleans(),
    "lost": st.booleans(),
    "waited": st.sampled_from([0.0, 1.0]) | st.floats(),
    "birth": numbers,
    "begun": st.none() | lists_of_numbers,
    "upto": numbers,
    "position": st.just(-1) | numbers,
    "accepted": numbers,
    "full": st.booleans(),
    "take": st.booleans(),
    "closed": st.booleans(),
    "confirm": st.booleans(),
    "number": numbers,
    "workers": st.integers(0, 3) | numbers,
    "jobs": st.lists(
        st.builds(
            messages.Journaled,
            job=ids,
            function=names,
            terms=terms,
            accepted=numbers,
            done=numbers,
            failed=numbers,
            closed=st.booleans(),
            age=st.floats(),
            client=names,
            attached=st.booleans(),
        ),
        max_size=2,
    ),
    "left_out": numbers,
    "route": st.none() | routes,
    "topics": st.lists(names, max_size=2),
    "named": st.booleans(),
    "lease_seconds": st.sampled_from([0.0, 0.1]) | st.floats(),
    "process": st.binary(max_size=16),
    "room": numbers,
    "edges": st.lists(names, max_size=2),
    "source": names,
    "target": names,
    "skipped": numbers,
}


@st.composite
def messages_of(
    draw: Callable[..., Any], kind: type[Message], link: st.SearchStrategy[int] | None = None
) -> tuple[Message, Batch | None]:
    """Draw a message of one kind, with its batch."""
    fields = {
        name: draw(_FIELDS[name])
        for name in kind.__struct_fields__
        if name not in ("link", "durations", "kinds")
    }
    if "durations" in kind.__struct_fields__:
        n = fields["n"]
        seconds = draw(st.lists(st.floats(width=32), min_size=n, max_size=n))
        fields["durations"] = struct.pack(f"<{n}f", *seconds)
    if "kinds" in kind.__struct_fields__ and "n" in fields:
        n = fields["n"]
        fields["kinds"] = draw(
            st.just(b"") | st.binary(min_size=n, max_size=n) | st.just(bytes([Kind.TASK_ERROR]) * n)
        )
    if fields.get("partitions") is not None and draw(st.booleans()):
        fields["partitions"] = draw(st.binary(min_size=fields["n"], max_size=fields["n"]))
    number = draw(link if link is not None else numbers)
    message = kind(link=number, **fields)
    if kind in RANGED:
        return message, Batch.pack(draw(payloads(fields["n"])))
    if kind is messages.Swap:
        n = 1 + (message.expected >= 0)
        return message, Batch.pack(draw(payloads(n)))
    if kind in VALUED and draw(st.booleans()):
        return message, Batch.pack(draw(payloads(1)))
    return message, None


def payloads(n: int) -> st.SearchStrategy[list[bytes]]:
    """Draw ``n`` small payloads."""
    return st.lists(st.binary(max_size=6), min_size=n, max_size=n)


any_message = st.sampled_from(KINDS).flatmap(messages_of)
