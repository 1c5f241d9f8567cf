"""Ports and addresses: what can be bound here, and what is."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.patient import Patient
from palm.doctor.running import command_of
from palm.errors import ConfigError
from palm.spec.endpoint import Endpoint, is_loopback, parse_address
from palm.spec.node import NodeConfig, parse_node, parse_ports

__all__ = ["check_bound", "check_loopback", "check_ports"]

#: Ports of a range that are tried, at most.
_MOST = 4000
_TIMEOUT = 1.0


def check_loopback(patient: Patient) -> Iterator[Finding]:
    """Can a socket of this machine reach another one?"""
    try:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            server.settimeout(_TIMEOUT)
            with closing(socket.create_connection(server.getsockname(), _TIMEOUT)) as one:
                other, _ = server.accept()
                with closing(other):
                    one.sendall(b"palm")
                    other.settimeout(_TIMEOUT)
                    heard = other.recv(4)
    except OSError as error:
        advice = "see whether the interface lo is up, and what a firewall does: ip addr show lo"
        yield problem(f"127.0.0.1 does not work: {error}", advice)
        return
    yield ok("127.0.0.1 works") if heard else problem("127.0.0.1 lost what was sent", "see the log")


def check_ports(patient: Patient) -> Iterator[Finding]:
    """Are ports of this node's range free?"""
    try:
        node = patient.node or _of_runner(patient)
    except (ConfigError, OSError) as error:
        yield problem(f"the runner's options make no sense any more: {error}", "mend its node.toml")
        return
    if node is None or node.ports is None:
        yield ok("any that is free: this node has no range of its own")
        return
    first, last = node.ports
    tried = range(first, min(last, first + _MOST - 1) + 1)
    ours = _ours(patient)
    taken = [port for port in tried if port not in ours and not _is_free(port)]
    free = len(tried) - len(taken) - len(ours & set(tried))
    text = f"{free} of {len(tried)} ports from {first} to {last} are free"
    shown = ", ".join(map(str, taken[:10])) + (", ..." if len(taken) > 10 else "")
    advice = f"end what has {shown} (ss -ltnp shows it), or give node.toml other ports"
    if not free:
        yield problem(text, advice if taken else "give node.toml more ports")
    elif taken:
        yield warning(f"{text}; others have {shown}", advice)
    else:
        yield ok(text)


def _of_runner(patient: Patient) -> NodeConfig | None:
    """What the runner that runs was told of this machine."""
    words = command_of(patient.runner) if patient.runner is not None else []
    given = {
        option: words[words.index(option) + 1]
        for option in ("--config", "--ports")
        if option in words[:-1]
    }
    if "--ports" in given:
        return NodeConfig(ports=parse_ports(given["--ports"]))
    if "--config" in given:
        path = Path(f"/proc/{patient.runner}/cwd") / given["--config"]
        return parse_node(path.read_text("utf-8"), given["--config"])
    return None


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET) as probe:
        # As libzmq does: what was closed a moment ago does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _endpoints(patient: Patient) -> Iterator[tuple[str, Endpoint]]:
    for record in patient.all_components():
        for address in record.endpoints.values():
            try:
                found = parse_address(address)
            except ConfigError:
                continue
            if isinstance(found, Endpoint) and found.scheme == "tcp":
                yield record.name, found


def _ours(patient: Patient) -> set[int]:
    return {endpoint.port for _, endpoint in _endpoints(patient)}


def check_bound(patient: Patient) -> Iterator[Finding]:
    """Who listens beyond this machine?"""
    curve = {
        (name, f"{endpoint.host}:{endpoint.port}")
        for name, endpoint in _endpoints(patient)
        if not endpoint.is_local
    }
    ports = {where.rpartition(":")[2] for _, where in curve}
    # What a user's own code has opened is not in its record.
    own = {
        (record.name, where)
        for record in patient.all_components()
        for where in _beyond(record.pid)
        if where.rpartition(":")[2] not in ports
    }
    found = [f"{name} at {where}, with CURVE" for name, where in sorted(curve)]
    found += [f"{name} at {where}, by code of its own" for name, where in sorted(own)]
    record = patient.record
    for where in sorted(_beyond(record.pid)) if record is not None and record.is_running else ():
        if record is not None and record.url.startswith("https:"):
            found.append(f"the registry at {where}, with TLS")
        else:
            yield warning(
                f"the registry listens at {where} without TLS: who reads along can start programs"
                " as you",
                "end it, and start it with --tls: palm registry --tls",
            )
    yield ok("; ".join(found) if found else "nothing else listens beyond this machine")


def _beyond(pid: int) -> set[str]:
    """Where a process listens that other machines can reach."""
    try:
        process = psutil.Process(pid)
        ask = getattr(process, "net_connections", None) or process.connections
        sockets = ask(kind="tcp")
    except (psutil.Error, OSError):  # gone by now, or the system does not say
        return set()
    return {
        f"{each.laddr.ip}:{each.laddr.port}"
        for each in sockets
        if each.status == psutil.CONN_LISTEN and not is_loopback(each.laddr.ip)
    }
