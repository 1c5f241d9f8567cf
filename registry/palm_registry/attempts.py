"""Failed attempts to get in, by address. No I/O; times are arguments.

Nobody guesses 256 bits, so this is no lock: whoever has the right token always gets in, also from
an address that others try from. It keeps the noise of who does not within bounds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

__all__ = ["Attempts"]

#: Failures that an address may have at once, and how many a second it may go on with.
BURST = 30
RATE = 0.5
#: Addresses that are known at once; who has not failed for longest goes first.
MAX_ADDRESSES = 1024


@dataclass(slots=True)
class _Bucket:
    level: float
    last: float
    over: bool = False


class Attempts:
    """How often each address has failed of late; ``now`` is a monotonic clock in seconds."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def fail(self, address: str, now: float) -> tuple[float, bool]:
        """Count a failure; return for how many seconds to send it away, and if that is news."""
        network = _network(address)
        bucket = self._buckets.pop(network, None) or _Bucket(0.0, now)
        self._buckets[network] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        bucket.level = max(0.0, bucket.level - (now - bucket.last) * RATE)
        bucket.last = now
        if bucket.level + 1 <= BURST:
            bucket.level += 1
            bucket.over = False
            return 0.0, False
        news, bucket.over = not bucket.over, True
        return (bucket.level + 1 - BURST) / RATE, news


def _network(address: str) -> str:
    """An address, or what one subscriber has of them: a /64 of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
