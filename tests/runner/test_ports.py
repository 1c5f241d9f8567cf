"""Ports of a node: probed, kept, replaced when somebody else has them, given again when free.

Defect 32 of the ancestor: ports by counter, never probed, never freed, beyond 65535.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.runner.ports import Ports, is_free

HOST = "127.0.0.1"


@contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """Somebody else, at a port."""
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen(1)
        yield other.getsockname()[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ports.json"


@pytest.fixture
def limits() -> tuple[int, int]:
    """Three ports in a row that are free."""
    for first in range(30001, 32000, 3):
        if all(is_free(HOST, port) for port in range(first, first + 3)):
            return first, first + 2
    raise AssertionError("no ports are free")


def test_32_a_socket_keeps_its_port_over_restarts(path: Path) -> None:
    ports = Ports(path, HOST, None)
    given = {key: ports.port(key) for key in ("foo.pull", "foo.pub", "bar.pull")}
    assert len(set(given.values())) == 3
    assert all(1024 < port < 65536 for port in given.values())
    again = Ports(path, HOST, None)
    assert {key: again.port(key) for key in reversed(given)} == given
    assert path.stat().st_mode & 0o777 == 0o600


def test_32_a_port_in_use_is_not_given(path: Path, limits: tuple[int, int]) -> None:
    first, last = limits
    with listening(first), listening(first + 1):
        assert Ports(path, HOST, limits).port("foo.pull") == last


def test_32_a_port_that_somebody_has_taken_is_replaced(path: Path, limits: tuple[int, int]) -> None:
    ports = Ports(path, HOST, limits)
    port = ports.port("foo.pull")
    assert not ports.renew("foo.pull")
    with listening(port):
        assert ports.renew("foo.pull")
        assert limits[0] <= ports.port("foo.pull") <= limits[1]
        assert ports.port("foo.pull") != port
    assert not ports.renew("foo.pull")
    assert Ports(path, HOST, limits).port("foo.pull") == ports.port("foo.pull")


def test_32_there_are_no_more_ports_than_the_range_has(path: Path, limits: tuple[int, int]) -> None:
    named = ["a.x", "b.x", "c.x"]
    ports = Ports(path, HOST, limits, lambda: named)
    given = {ports.port(key) for key in named}
    assert given == set(range(limits[0], limits[1] + 1))
    with pytest.raises(ConfigError, match=f"none of the ports {limits[0]}-{limits[1]} is free"):
        ports.port("d.x")
    named.remove("b.x")
    free = ports.port("b.x")
    assert ports.port("d.x") == free  # that of a socket nobody names any more
    assert "b.x" not in ports


def test_ports_of_another_range_are_not_kept(path: Path, limits: tuple[int, int]) -> None:
    Ports(path, HOST, None).port("foo.pull")
    assert limits[0] <= Ports(path, HOST, limits).port("foo.pull") <= limits[1]


def test_a_damaged_file_costs_no_more_than_the_ports(path: Path) -> None:
    path.write_text("{")
    path.chmod(0o600)
    assert Ports(path, HOST, None).port("foo.pull")


def test_at_the_end_all_are_given_back(path: Path) -> None:
    ports = Ports(path, HOST, None)
    ports.port("foo.pull")
    ports.forget()
    assert "foo.pull" not in ports
    assert not path.exists()


def test_an_address_of_another_machine_is_told(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nobody can listen at 192\.0\.2\.7") as caught:
        Ports(path, "192.0.2.7", None).port("foo.pull")
    assert caught.value.hint == "see address and ports of the node"
