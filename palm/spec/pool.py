"""Nodes that come from an engine, such as Dask: what its workers are as nodes. Pure.

A *pool* is the nodes that one engine gives to a cluster. Each worker of the engine is one of them,
as long as it lasts, with as many places as it has threads. Since it may end at any time, it takes
only what asks for it, by a label or by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

__all__ = [
    "ENGINE",
    "POOL",
    "POOL_OWNER",
    "EngineWorker",
    "Want",
    "labels_of",
    "node_name",
    "places_wanted",
]

#: Labels that each node of a pool has.
ENGINE, POOL = "engine", "pool"
#: Owner of the component that looks after a pool and is called as it: not a cluster file, which
#: would stop it when it is applied.
POOL_OWNER = "nodes"

_LONGEST = 64
#: Resources of a worker that become labels.
_MOST = 32
_GIB, _MIB = 1 << 30, 1 << 20
_ADDRESS = re.compile(r"[a-z]+://(.+)")


@dataclass(frozen=True, slots=True)
class EngineWorker:
    """A worker as its engine knows it; ``memory`` is in bytes, 0: not limited or not known."""

    address: str
    name: str
    host: str
    threads: int = 1
    memory: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Want:
    """A component: how many replicas are wanted, where they may run, and the node of each.

    ``nodes`` are those of replicas that run, or have done their work.
    """

    replicas: int
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    nodes: Collection[str] = ()

    def suits(self, offered: Mapping[str, str]) -> bool:
        """Whether a node of a pool with such labels would do."""
        asks = bool(self.labels) and not self.node
        return asks and all(offered.get(k) == v for k, v in self.labels.items())


def node_name(pool: str, worker: str) -> str:
    """Return the name of a worker as a node: another one for each, and always the same."""
    address = _ADDRESS.fullmatch(worker)
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", address[1] if address else worker).strip("-")
    name = f"{pool}-{plain}"
    if len(name) <= _LONGEST and (plain == worker or address):
        return name
    digest = sha256(worker.encode()).hexdigest()[:6]
    return f"{name[: _LONGEST - len(digest) - 1]}-{digest}"


def labels_of(
    engine: str, pool: str, worker: EngineWorker, more: Mapping[str, str]
) -> dict[str, str]:
    """Return the labels of a worker as a node; those that were asked for count most."""
    found = dict(_resources(worker))
    found["cores"] = str(worker.threads)
    if worker.memory:
        found["memory"] = _size(worker.memory)
    return found | {ENGINE: engine, POOL: pool} | dict(more)


def _resources(worker: EngineWorker) -> Iterator[tuple[str, str]]:
    for name, amount in sorted(worker.resources.items())[:_MOST]:
        label = re.sub(r"[^A-Za-z0-9._/-]+", "-", name)[:_LONGEST]
        if label:
            yield label, f"{amount:.15g}".replace("+", "")


def _size(size: int) -> str:
    return f"{size // _GIB}G" if size >= _GIB else f"{size // _MIB}M"


def places_wanted(
    wants: Iterable[Want], nodes: Collection[str], offers: Iterable[Mapping[str, str]]
) -> int:
    """Return how many places of a pool are wanted, those that are taken included.

    ``nodes`` are those of the pool, ``offers`` the labels of nodes that its engine can make. What
    would find a node elsewhere counts only once it has one here, or none.
    """
    known = list(offers)
    found = 0
    for want in wants:
        if want.node in nodes or any(want.suits(offered) for offered in known):
            elsewhere = sum(node not in nodes for node in want.nodes)
            found += max(0, want.replicas - elsewhere)
    return found
