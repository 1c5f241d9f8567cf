"""How much output may wait for the registry, and what happens beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from palm.errors import ConfigError
from palm.spec.names import nearest
from palm.spec.size import format_size, parse_size

__all__ = [
    "MIN_QUOTA",
    "QUOTA",
    "SPOOL_POLICIES",
    "SpoolPolicy",
    "SpoolTable",
    "read_spool",
    "spool_flaws",
]

SpoolPolicy = Literal["block", "drop-oldest"]
SPOOL_POLICIES: tuple[SpoolPolicy, ...] = ("block", "drop-oldest")

#: Bytes of one process that may wait, unless told.
QUOTA = 1 << 30
#: Bytes that one may ask for at least: below it, one look at the files would often come too late.
MIN_QUOTA = 1 << 20

_KEYS = ("policy", "quota")
_HINT = '"block" or "drop-oldest", or { policy = "block", quota = "1G" }'


class SpoolTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a cluster file says of the spool, as a table; a text alone is the policy."""

    policy: SpoolPolicy = "block"
    quota: str = format_size(QUOTA)


def read_spool(value: SpoolPolicy | SpoolTable) -> tuple[SpoolPolicy, int | None]:
    """Return policy and quota (bytes, None for no limit) of what has no flaws."""
    table = value if isinstance(value, SpoolTable) else SpoolTable(policy=value)
    return table.policy, parse_size(table.quota)


def spool_flaws(value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield key ("" if it is none), text and hint for all that is wrong with a value."""
    if isinstance(value, dict):
        for key in value.keys() - set(_KEYS):
            close = nearest(key, _KEYS)
            hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(_KEYS)}"
            yield key, "there is no such key", hint
        yield from _policy_flaws("policy", value.get("policy", "block"))
        yield from _quota_flaws(value.get("quota", format_size(QUOTA)))
    else:
        yield from _policy_flaws("", value)


def _policy_flaws(key: str, policy: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(policy, str):
        yield key, f"{policy!r} is no policy", _HINT
    elif policy not in SPOOL_POLICIES:
        close = nearest(policy.lower(), SPOOL_POLICIES)
        yield key, f"there is no policy {policy!r}", f"did you mean {close!r}?" if close else _HINT


def _quota_flaws(quota: Any) -> Iterator[tuple[str, str, str]]:
    hint = "a text as in 500M, 10G; none: no limit"
    try:
        size = parse_size(quota) if isinstance(quota, str) else 0
    except ConfigError:
        size = 0
    if size == 0:
        yield "quota", f"{quota!r} is not a size", hint
    elif size is not None and not MIN_QUOTA <= size < 2**62:
        yield "quota", f"{quota!r} is no quota", f"at least {format_size(MIN_QUOTA)}"
