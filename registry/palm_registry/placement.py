"""Which node runs which replica: asking twice changes nothing, and nothing moves by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

__all__ = ["Replica", "place"]

#: Component and number.
Replica = tuple[str, int]


def place(
    wanted: Iterable[Replica], placed: Mapping[Replica, str], nodes: Collection[str]
) -> dict[Replica, str]:
    """Return a node for each wanted replica that is not placed yet.

    The one with the fewest replicas takes the next, the first by name among equals. A replica
    stays where it is, also while its node is lost: it may be running there. Without nodes
    nothing is placed.
    """
    if not nodes:
        return {}
    load = Counter(dict.fromkeys(nodes, 0))
    load.update(node for node in placed.values() if node in load)
    found: dict[Replica, str] = {}
    for replica in wanted:
        if replica not in placed:
            node = min(nodes, key=lambda node: (load[node], node))
            found[replica] = node
            load[node] += 1
    return found
