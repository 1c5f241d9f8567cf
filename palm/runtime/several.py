"""Calls that have any number of results: generators, and what follows a function in a component."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isgeneratorfunction
from typing import Any

from palm.wire.codec import encode_value
from palm.wire.results import Item, pack_results

__all__ = ["NOTHING", "Several", "is_generator", "pack_several", "spread", "yielding"]


class Several:
    """The results of one call, each with its topic (``""``: it goes where all go)."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = list(pairs)


#: No result at all.
NOTHING = Several(())


def is_generator(function: object) -> bool:
    """Whether a call of ``function`` yields its results."""
    return isgeneratorfunction(function) or isgeneratorfunction(getattr(function, "func", None))


def yielding(function: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Several]:
    """Return a function whose results are those that ``function`` yields; it is run to its end."""

    def call(value: Any) -> Several:
        return Several(("", result) for result in function(value))

    return call


def spread(function: Callable[[Any], Any]) -> Callable[[Any], Several]:
    """Return a function whose results are the items of what ``function`` returns.

    Text, bytes and mappings are one result, None is none.
    """

    def call(value: Any) -> Several:
        result = function(value)
        if result is None:
            return NOTHING
        single = isinstance(result, str | bytes | bytearray | memoryview | dict)
        return Several(("", each) for each in ((result,) if single else result))

    return call


def pack_several(several: Several) -> bytes:
    """Return the payload that holds results; raises what encoding one of them raises."""
    return pack_results(Item(*_encoded(value), topic) for topic, value in several.pairs)


def _encoded(value: Any) -> tuple[int, bytes]:
    codec, payload = encode_value(value)
    return int(codec), payload if type(payload) is bytes else bytes(payload)
