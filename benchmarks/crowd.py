"""A crowd: bare peers that greet a master, are welcome, and do nothing.

A `palm.clients.Client` has threads and a context of its own, of which a machine holds hundreds. A
peer here is one socket that speaks palm's protocol, with the options of a client's, and many of
them share a context.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

import psutil
import zmq

from benchmarks.memory import cpu_seconds
from benchmarks.processes import BrokenError, Caller, Place
from benchmarks.report import Report
from benchmarks.systems import PalmCluster
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.descriptors import kept, limit, raise_limit
from palm.transport.keys import load_key
from palm.transport.security import secure_connect
from palm.transport.zmq.connector import RECONNECT
from palm.transport.zmq.sockets import HANDSHAKE_WITHIN, HEARTBEAT_LOCAL
from palm.wire import framing
from palm.wire.message import VERSION, Hello, Welcome

__all__ = ["Crowd", "Greeted", "crowd", "crowd_of_10000"]

#: Peers of one process: each takes two descriptors there.
HALL = 1000

#: Seconds within which all have to be welcome.
WELCOME_WITHIN = 60.0

#: Seconds within which the calls of the active client have to be done: else they are left out.
CALLS_WITHIN: Final = 30.0

#: Descriptors that the master needs for itself, the worker and the active client, and some.
OWN = 64

SYSTEMS = {"palm, ipc": False, "palm, tcp + CURVE": True}

HALL_SOURCE = """
import sys
from benchmarks.crowd import serve_hall
serve_hall(sys.argv[1])
"""


def crowd(report: Report) -> None:
    """2,000 clients that do nothing, beside one that calls"""
    _measure(report, 2_000)


def crowd_of_10000(report: Report) -> None:
    """10,000 clients that do nothing, beside one that calls"""
    _measure(report, 10_000)


def _measure(report: Report, wanted: int) -> None:
    raise_limit()  # as the master does, of which we ask how many it holds
    n = min(wanted, limit() - kept() - OWN)
    if n < wanted:
        report.remarks.append(f"No more than {n:,} clients: {limit():,} open files are allowed.")
    found = {system: _figures(report, n, system) for system in SYSTEMS}
    units = {name: unit for figures in found.values() for name, (unit, _) in figures.items()}
    for name, unit in units.items():
        runs = {system: [each[name][1]] for system, each in found.items() if name in each}
        report.add(f"{n:,} idle clients, {name}", unit, runs)


def _figures(report: Report, n: int, system: str) -> dict[str, tuple[str, float]]:
    """Return figures with their units."""
    tcp = SYSTEMS[system]
    with Place() as place:
        cluster = PalmCluster(place, 1, tcp=tcp)
        caller = cluster.caller()
        alone = _calls(caller)
        process = psutil.Process(cluster.master.pid)
        memory, before_fds = process.memory_info().rss, process.num_fds()
        halls = [_Hall(place, cluster.address) for _ in range(-(-n // HALL))]
        begun = time.monotonic()
        waits = _welcomes(halls, n)
        seconds = time.monotonic() - begun
        welcome = len(waits)
        memory, descriptors = process.memory_info().rss - memory, process.num_fds() - before_fds
        begun, before = time.monotonic(), cpu_seconds(process.pid)
        time.sleep(3 if report.quick else 5)
        busy = (cpu_seconds(process.pid) - before) / (time.monotonic() - begun)
        try:
            amid = _calls(caller)
        except BrokenError as error:
            report.remarks.append(f"{system}, amid {n:,} idle clients: {error}")
            amid = {}
        stayed = process.num_fds() - before_fds
    calls = {"eval of another": amid, "eval before they came": alone}
    return {
        f"welcome within {WELCOME_WITHIN:g} s": ("", welcome),
        "until all are": ("s", seconds),
        "wait of each, median": ("s", median(waits)),
        "memory of the master for each": ("KiB", memory / welcome / 1024),
        "descriptors of the master for each": ("", descriptors / welcome),
        "connected after a while": ("", stayed),
        "processor of the master": ("%", 100 * busy),
        **{
            f"{call}, {name}": ("us", value)
            for call, values in calls.items()
            for name, value in values.items()
        },
    }


def _calls(caller: Caller) -> dict[str, float]:
    found = caller.ask("calls", function="stamp", n=500, within=CALLS_WITHIN)
    return {name: 1e6 * found[name] for name in ("p50", "p99")}


def _welcomes(halls: list[_Hall], n: int) -> list[float]:
    """Have so many enter, and return what each waited that is welcome in time."""
    for at, hall in enumerate(halls):
        hall.enter(min(HALL, n - at * HALL))
    greeted = [hall.greeted() for hall in halls]
    waits = [wait for each in greeted for wait in each.waits]
    if not waits:
        raise BrokenError(" ".join({"nobody is welcome", *(each.reason for each in greeted)}))
    return waits


class _Hall:
    """A process with a part of the crowd."""

    def __init__(self, place: Place, address: str) -> None:
        self._process = place.spawn(HALL_SOURCE, address, talk=True)
        self._read()  # it is ready

    def enter(self, n: int) -> None:
        """Have so many enter; `greeted` says what became of them."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{n}\n")
            self._process.stdin.flush()

    def greeted(self) -> Greeted:
        """Wait for what became of those who entered."""
        return Greeted(**json.loads(self._read()))

    def _read(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise BrokenError("a part of the crowd ended")
        return line


def serve_hall(address: str) -> None:
    """Read how many are to enter, and print what became of them, until the input ends."""
    raise_limit()
    folders = Folders.find()
    record = read_record(folders, "foo")
    if record is None:
        raise BrokenError("no master")
    here = Crowd(address or record.endpoints["ipc"], folders)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(here.enter(int(line)))), flush=True)
    os._exit(0)  # to close them one by one takes long


@dataclass
class Greeted:
    """What became of those who entered: seconds that each waited for its welcome."""

    waits: list[float]
    #: Those who were told that there is no room, and left.
    turned_away: int = 0
    #: What they were told.
    reason: str = ""


class Crowd:
    """Peers of a master, in this process."""

    def __init__(self, address: str, folders: Folders) -> None:
        self._endpoint = parse_address(address)
        self._folders = folders
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.max_sockets = 60_000
        self._poller = zmq.Poller()
        self._entered_at: dict[zmq.Socket[bytes], float] = {}
        self._count = 0
        #: Those who are welcome.
        self.members: list[zmq.Socket[bytes]] = []

    def enter(self, n: int, within: float = WELCOME_WITHIN) -> Greeted:
        """Have so many greet the master at once, and wait until all have an answer."""
        for _ in range(n):
            self._enter_one()
        greeted, until = Greeted([]), time.monotonic() + within
        while self._entered_at and time.monotonic() < until:
            for peer, _ in self._poller.poll(100):
                self._hear(peer, greeted)
        return greeted

    def leave(self, n: int) -> None:
        """Have so many leave, without a word."""
        leaving, self.members = self.members[:n], self.members[n:]
        for peer in leaving:
            peer.close(0)

    def close(self) -> None:
        """Have all leave."""
        for peer in [*self._entered_at, *self.members]:
            peer.close(0)
        self._entered_at.clear()
        self.members.clear()
        self._context.term()

    def _enter_one(self) -> None:
        peer: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        peer.linger = 0
        peer.set_hwm(0)
        peer.reconnect_ivl, peer.reconnect_ivl_max = RECONNECT
        peer.handshake_ivl = HANDSHAKE_WITHIN
        peer.heartbeat_ivl, peer.heartbeat_timeout = HEARTBEAT_LOCAL
        peer.heartbeat_ttl = peer.heartbeat_timeout
        if isinstance(self._endpoint, Endpoint) and self._endpoint.scheme == "tcp":
            secure_connect(peer, load_key(self._folders.keys / "client.json"))
        peer.connect(str(self._endpoint))
        self._count += 1
        name = f"idle-{self._count}"
        hello = Hello(0, VERSION, "client", name, os.urandom(16), "", [], [])
        peer.send_multipart(framing.pack(hello, None))
        self._entered_at[peer] = time.monotonic()
        self._poller.register(peer, zmq.POLLIN)

    def _hear(self, peer: zmq.Socket[bytes], greeted: Greeted) -> None:
        header, *rest = peer.recv_multipart()
        if not header and not rest:
            return  # a probe
        self._poller.unregister(peer)
        entered_at = self._entered_at.pop(peer)
        if not header:
            greeted.turned_away += 1
            greeted.reason = rest[0].decode()
            peer.close(0)
            return
        message, _ = framing.unpack([header, *rest])
        if not isinstance(message, Welcome):
            raise TypeError(f"no welcome: {message}")
        greeted.waits.append(time.monotonic() - entered_at)
        self.members.append(peer)
