"""Sockets that the arguments of components name, where these run on other nodes. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from palm.registry_api.schema import Assignment, NamedAddress, NodeInfo
from palm.spec.component import SINGLE_ROLES, ComponentSpec
from palm.spec.endpoint import Endpoint, parse_address
from palm.spec.sockets import NODE_PORT, named_sockets, socket_key
from palm_registry.facts import Facts

__all__ = ["named_on", "names_of", "peers_elsewhere", "sockets_elsewhere"]


def named_on(facts: Facts) -> dict[str, set[str]]:
    """Return on which nodes the sockets of each component are named by others."""
    named: dict[str, set[str]] = {}
    if len(facts.nodes) < 2:
        return named
    for row in facts.components.values():
        others = {socket.component for socket in named_sockets(row.spec)} - {row.spec.name}
        for name in others:
            named.setdefault(name, set()).update(_nodes_of(facts, row.spec))
    return named


def sockets_elsewhere(facts: Facts, assignments: Iterable[Assignment], node: str) -> dict[str, str]:
    """Return the addresses of sockets bound on other nodes; "" of one that is not known yet."""
    if len(facts.nodes) < 2:
        return {}
    found = {}
    for each in assignments:
        for socket in named_sockets(each.spec):
            at = facts.placements.get((socket.component, 0))
            if socket.component != each.spec.name and at != node:
                key = socket_key(socket.component, socket.port)
                found[key] = _address(facts, socket.component, socket.port, node)
    return found


def peers_elsewhere(facts: Facts, node: str) -> dict[str, str]:
    """Return the addresses of what runs on other nodes and is found by its name.

    That of one which no other machine reaches is "".
    """
    if len(facts.nodes) < 2:
        return {}
    found = {
        name: _address(facts, name, NODE_PORT, node)
        for name, row in facts.components.items()
        if row.spec.role in SINGLE_ROLES and facts.placements.get((name, 0)) != node
    }
    return {name: at for name, at in found.items() if at or _runs(facts, name)}


def names_of(facts: Facts) -> list[NamedAddress]:
    """Return where components are that are found by their name, for those on no node."""
    return [
        NamedAddress(
            name=name,
            role=row.spec.role,
            node=facts.placements.get((name, 0), ""),
            address=_address(facts, name, NODE_PORT, ""),
            runs=_runs(facts, name),
        )
        for name, row in facts.components.items()
        if row.spec.role in SINGLE_ROLES
    ]


def _nodes_of(facts: Facts, spec: ComponentSpec) -> set[str]:
    placed = (facts.placements.get((spec.name, number)) for number in range(spec.replicas))
    return {node for node in placed if node is not None}


def _runs(facts: Facts, component: str) -> bool:
    status = facts.replica(facts.components[component], 0)
    is_there = status is not None and status.node == facts.placements.get((component, 0))
    return is_there and status is not None and status.state == "ready"


def _address(facts: Facts, component: str, port: str, node: str) -> str:
    row = facts.components.get(component)
    status = facts.replica(row, 0) if row is not None else None
    at = facts.placements.get((component, 0))
    if status is None or status.node != at:
        return ""
    address = status.sockets.get(port, "")
    return address if _is_reached(address, facts.nodes, status.node, node) else ""


def _is_reached(address: str, nodes: Mapping[str, NodeInfo], there: str, here: str) -> bool:
    """Whether an address of one node means the same to another one."""
    endpoint = parse_address(address) if address else ""
    if not isinstance(endpoint, Endpoint):
        return False
    # Nodes of one address are on one machine.
    return not endpoint.is_local or (here in nodes and nodes[there].address == nodes[here].address)
