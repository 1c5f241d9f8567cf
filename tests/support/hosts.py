"""Several hosts on this machine: network namespaces with addresses of their own, and a switch.

Each host has its own network, folders and processes; what is between them can be cut, one way or
both, and made slow. Namespaces carry the pid of the test run in their name, so that what a killed
one left is removed by the next.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
_PREFIX = "palmtest"
_SIOCETHTOOL = 0x8946
#: Offloads that hand on frames which are no frames: checksums to be made, segments to be cut.
_OFFLOADS = (0x17, 0x1F, 0x24)  # ETHTOOL_STXCSUM, STSO, SGSO
_numbers = itertools.count()


class Host:
    """A machine: commands run on it, and this thread may."""

    def __init__(self, namespace: str, name: str, address: str, home: Path) -> None:
        self.namespace = namespace
        self.name = name
        self.address = address
        self.home = home
        for folder in ("run", "state"):
            (home / folder).mkdir(mode=0o700, parents=True)
        self.environment = {
            "PALM_RUN_DIR": str(home / "run"),
            "PALM_STATE_DIR": str(home / "state"),
            "PALM_CLUSTER": "default",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'registry'}",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Python there; what it says is in the file ``log`` of the host's folder."""
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, sys.executable, *arguments],
                env={**os.environ, **self.environment},
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be on this host: sockets and threads that this thread makes belong to it."""
        with open("/proc/thread-self/ns/net", "rb") as ours:
            with open(_NAMESPACES / self.namespace, "rb") as theirs:
                _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())

    def pids(self) -> list[int]:
        """All processes that run there; not this one, though a thread of it may be there."""
        return [pid for pid in _pids_of(self.namespace) if pid != os.getpid()]

    def log(self) -> str:
        """What its processes said."""
        return (self.home / "log").read_text("utf-8", "replace")


class Hosts:
    """Hosts by name, and what is between them."""

    def __init__(self, home: Path, *names: str) -> None:
        _sweep()
        self._number = next(_numbers)
        self._switch_space = self._space("switch")
        self._hosts: dict[str, Host] = {}
        self._lock = threading.Lock()
        self._switch: subprocess.Popen[bytes] | None = None
        try:
            self._make(home, names)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def _space(self, name: str) -> str:
        return f"{_PREFIX}-{os.getpid()}-{self._number}-{name}"

    def _make(self, home: Path, names: tuple[str, ...]) -> None:
        _ip("netns", "add", self._switch_space)
        for number, name in enumerate(names, 1):
            space, port = self._space(name), f"p{number}"
            address = f"10.77.{self._number % 250}.{number}"
            _ip("netns", "add", space)
            self._hosts[name] = Host(space, name, address, home / name)
            ends = ["type", "veth", "peer", "name", port, "netns", self._switch_space]
            _ip("-n", space, "link", "add", "eth0", *ends)
            _ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")
            _ip("-n", self._switch_space, "link", "set", port, "up")
            with self._hosts[name].entered():
                _switch_offloads_off("eth0")
        self._ports = {name: f"p{number}" for number, name in enumerate(names, 1)}
        self._switch = subprocess.Popen(
            ["ip", "netns", "exec", self._switch_space, sys.executable, "-m",
             "tests.support.switch", *self._ports.values()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        self._answer("ready")

    # What is between them

    def one_way(self, source: str, to: str) -> None:
        """Lose all that goes from one host to another; the other way nothing is lost."""
        self._order(source, to, cut=True)

    def cut(self, one: str, other: str) -> None:
        """Lose all between two hosts."""
        self.one_way(one, other)
        self.one_way(other, one)

    def isolate(self, name: str) -> None:
        """Cut a host off from all others."""
        for other in self._ports.keys() - {name}:
            self.cut(name, other)

    def slow(self, one: str, other: str, delay: float, loss: float = 0.0) -> None:
        """Have each frame between two hosts take so many seconds, and lose a part (0 to 1)."""
        for source, to in ((one, other), (other, one)):
            self._order(source, to, delay=delay, loss=loss)

    def heal(self) -> None:
        """Have all ways be as they were."""
        for source, to in itertools.permutations(self._ports, 2):
            self._order(source, to, cut=False, delay=0.0, loss=0.0)

    def lose(self, name: str) -> float:
        """Take a host away as a power cut does; return when, by the monotonic clock.

        Its link goes first, so that nobody hears its processes end.
        """
        self.isolate(name)
        host = self._hosts[name]
        _ip("-n", host.namespace, "link", "set", "eth0", "down")
        when = time.monotonic()
        _kill_all(host.namespace)
        return when

    def restore(self, name: str) -> None:
        """Have a lost host be reached again; what ran there does not."""
        _ip("-n", self._hosts[name].namespace, "link", "set", "eth0", "up")
        for other in self._ports.keys() - {name}:
            for source, to in ((name, other), (other, name)):
                self._order(source, to, cut=False)

    def close(self) -> None:
        """Remove all."""
        for host in self._hosts.values():
            _remove(host.namespace)
            for process in host.processes:
                process.wait(10)
        if self._switch is not None:
            for pipe in (self._switch.stdin, self._switch.stdout):
                if pipe is not None:
                    pipe.close()
            self._switch.wait(10)
        _remove(self._switch_space)

    def _order(self, source: str, to: str, **change: object) -> None:
        assert self._switch is not None and self._switch.stdin is not None
        order = {"from": self._ports[source], "to": self._ports[to], **change}
        with self._lock:
            self._switch.stdin.write(json.dumps(order).encode() + b"\n")
            self._switch.stdin.flush()
            self._answer("done")

    def _answer(self, expected: str) -> None:
        assert self._switch is not None and self._switch.stdout is not None
        said = self._switch.stdout.readline().decode().strip()
        assert said == expected, f"the switch says {said!r}"


def environment_of(host: Host, **more: str) -> Mapping[str, str]:
    """What a program of the user's has on a host."""
    return {**host.environment, **more}


def _enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _switch_offloads_off(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for command in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
            fcntl.ioctl(asked, _SIOCETHTOOL, request)


def _ip(*arguments: str) -> None:
    made = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"ip {' '.join(arguments)}: {made.stderr}"


def _pids_of(namespace: str) -> list[int]:
    found = subprocess.run(
        ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def _kill_all(namespace: str) -> None:
    """End the processes of a namespace, also those that they start meanwhile."""
    deadline = time.monotonic() + 10
    while pids := [pid for pid in _pids_of(namespace) if pid != os.getpid()]:
        assert time.monotonic() < deadline, f"{pids} do not end"
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _remove(namespace: str) -> None:
    if not (_NAMESPACES / namespace).exists():
        return
    try:
        _kill_all(namespace)
        _ip("netns", "delete", namespace)
    except (OSError, AssertionError):
        if (_NAMESPACES / namespace).exists():  # another run that begins may be at the same
            raise


def _sweep() -> None:
    """Remove what test runs left that were killed."""
    if not _NAMESPACES.is_dir():
        return
    for path in _NAMESPACES.iterdir():
        found = re.match(rf"{_PREFIX}-(\d+)-", path.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove(path.name)
