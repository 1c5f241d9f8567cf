"""Who is still there: leases of holders and silence of nodes. No I/O; times are arguments.

``now`` is a monotonic clock in seconds, so that setting the clock ends nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LOST_AFTER", "MOVE_AFTER", "Leases", "Nodes"]

#: Seconds of silence after which a node is lost.
LOST_AFTER = 5.0
#: Seconds from then on after which what a lost node had goes elsewhere, unless one says otherwise.
MOVE_AFTER = 30.0

Key = tuple[str, str]


@dataclass(slots=True)
class _Lease:
    ttl: float
    until: float


class Leases:
    """The leases of all clusters, by cluster and holder."""

    def __init__(self) -> None:
        self._leases: dict[Key, _Lease] = {}
        self._unheld: dict[str, float] = {}

    def renew(self, cluster: str, holder: str, ttl: float, now: float) -> bool:
        """Give a lease, or more time; say whether it is another one than before."""
        cluster = str(cluster)  # not who asked: what follows by the clock, nobody asks for
        known = self._leases.get((cluster, holder))
        self._leases[cluster, holder] = _Lease(ttl, now + ttl)
        self._unheld.pop(cluster, None)
        return known is None or known.ttl != ttl

    def release(self, cluster: str, holder: str, now: float) -> bool:
        """Take a lease back; say whether there was one."""
        found = self._leases.pop((cluster, holder), None)
        if found is not None and not self.holders(cluster):
            self._unheld[str(cluster)] = now
        return found is not None

    def forget(self, cluster: str) -> None:
        """Drop all that is known of a cluster."""
        for key in [key for key in self._leases if key[0] == cluster]:
            del self._leases[key]
        self._unheld.pop(cluster, None)

    def set_unheld(self, cluster: str, now: float) -> None:
        """Somebody held a cluster once, and now nobody does."""
        self._unheld.setdefault(cluster, now)

    def expired(self, now: float) -> list[Key]:
        """Leases that are over, by cluster and holder."""
        return [key for key, lease in self._leases.items() if lease.until <= now]

    def holders(self, cluster: str) -> list[str]:
        """Who holds a cluster."""
        return sorted(holder for key, holder in self._leases if key == cluster)

    def left(self, cluster: str, now: float) -> float | None:
        """Seconds to the end of the last lease, None if there is none."""
        ends = [lease.until for key, lease in self._leases.items() if key[0] == cluster]
        return max(ends) - now if ends else None

    def unheld(self) -> dict[str, float]:
        """When the last lease of each cluster ended that nobody holds any more."""
        return dict(self._unheld)


@dataclass(slots=True)
class _Node:
    polls: int
    last: float
    alive: bool = True
    #: Since when it is lost, until it is noted that it is so for too long.
    lost: float | None = None


class Nodes:
    """Which nodes are heard of, by cluster and id."""

    def __init__(self, move_after: float = MOVE_AFTER) -> None:
        self.move_after = move_after
        self._nodes: dict[Key, _Node] = {}

    def expect(self, cluster: str, node: str, now: float) -> None:
        """A node that should be there: it has the time of a silence to say so."""
        # Heartbeats of the runner that was this node before may still wait: they end later.
        found = self._nodes.setdefault((str(cluster), node), _Node(0, now))
        found.last, found.alive, found.lost = now, True, None

    def expect_back(self, cluster: str, node: str, now: float) -> None:
        """A node that was lost before we began: it has the time of one that is lost now."""
        self._nodes[str(cluster), node] = _Node(0, now, alive=False, lost=now)

    def begin(self, cluster: str, node: str, now: float) -> None:
        """A heartbeat of a node arrived, and is not answered yet."""
        found = self._nodes.setdefault((str(cluster), node), _Node(0, now, alive=False))
        found.polls += 1
        found.last = now

    def end(self, cluster: str, node: str, now: float) -> None:
        """A heartbeat was answered, or its connection is gone."""
        found = self._nodes.get((cluster, node))
        if found is not None:
            found.polls = max(0, found.polls - 1)
            found.last = now

    def forget(self, cluster: str, node: str) -> None:
        """A node has left."""
        self._nodes.pop((cluster, node), None)

    def silence(self, cluster: str, node: str, now: float) -> float | None:
        """Seconds since a node was heard of, None if it never was; 0 while it waits for us."""
        found = self._nodes.get((cluster, node))
        if found is None:
            return None
        return 0.0 if found.polls else now - found.last

    def silent(self, now: float) -> list[Key]:
        """Nodes that were there and are silent for too long; `lose` is to follow."""
        return [
            key
            for key, node in self._nodes.items()
            if node.alive and not node.polls and now - node.last > LOST_AFTER
        ]

    def lose(self, cluster: str, node: str, now: float) -> None:
        """Note that a node counts as lost."""
        found = self._nodes.get((cluster, node))
        if found is not None:
            found.alive, found.lost = False, now

    def overdue(self, now: float) -> list[Key]:
        """Nodes that are lost for so long that what they had may go; `give_up` is to follow."""
        return [
            key
            for key, node in self._nodes.items()
            if node.lost is not None and not node.polls and now - node.lost >= self.move_after
        ]

    def give_up(self, cluster: str, node: str) -> None:
        """Note that what a lost node had may go elsewhere."""
        found = self._nodes.get((cluster, node))
        if found is not None:
            found.lost = None

    def back(self, cluster: str, node: str) -> bool:
        """Note that a node is there; say whether it was lost before."""
        found = self._nodes[cluster, node]
        was, found.alive, found.lost = found.alive, True, None
        return not was
