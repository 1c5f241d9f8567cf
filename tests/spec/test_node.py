"""The node file: what it says of a machine, and errors that name the place."""

from __future__ import annotations

import pytest

from palm.errors import ConfigError
from palm.spec.node import NodeConfig, parse_node, parse_ports

FULL = """\
name = "north"
address = "192.0.2.7"
cores = 8
ports = "42000-42999"

[labels]
gpu = "yes"
zone = "eu/1"
"""


def test_a_node_file_says_what_a_machine_is() -> None:
    labels = {"gpu": "yes", "zone": "eu/1"}
    assert parse_node(FULL) == NodeConfig("north", "192.0.2.7", 8, (42000, 42999), labels)
    assert parse_node("") == NodeConfig()
    assert parse_node('labels = { a = "b" }').labels == {"a": "b"}
    assert parse_node('address = "fe80::1"').address == "fe80::1"


@pytest.mark.parametrize(
    ("text", "line", "key", "said", "hint"),
    [
        ('name = "a b"', 1, "name", "'a b' cannot be", "letters"),
        ('\naddress = "0.0.0.0"', 2, "address", "nobody can connect", "other nodes reach"),
        ('address = "tcp://x:1"', 1, "address", "is no address", "host name"),
        ("cores = -1", 1, "cores", "-1 cores", "from 1"),
        ('cores = "4"', 1, "cores", "expected int", None),
        ('ports = "4x"', 1, "ports", "no range of ports", "42000-42999"),
        ('ports = "5-4"', 1, "ports", "no range of ports", "42000-42999"),
        ('ports = "1-70000"', 1, "ports", "no range of ports", "42000-42999"),
        ('\n[labels]\ngpu = ""', 2, "labels", "cannot be a label", "letters"),
        ("[labels]\ngpu = 1", 1, "labels", "expected str", None),
        ('allow = ["comand:ls"]', 1, "allow", "no kind 'comand'", "did you mean 'command'?"),
        ('allow = ["sha256"]', 1, "allow", "does not say which", "sha256:PATTERN"),
        ('allow = ["kernel:x"]', 1, "allow", "says too much", "just 'kernel'"),
        ('allow = "script"', 1, "allow", "expected array", None),
        ('adress = "x"', 1, "adress", "no such key", "did you mean 'address'?"),
        ("[x]", 1, "x", "no such key", "there are: name, address"),
        ("name =", 1, None, "not TOML", None),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    text: str, line: int, key: str | None, said: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_node(text, "north.toml")
    error = caught.value
    assert (error.file, error.line, error.key) == ("north.toml", line, key)
    assert hint is None or hint in (error.hint or "")


def test_a_range_of_ports_may_be_one() -> None:
    assert parse_ports("42000") == (42000, 42000)
    assert parse_ports("42000 - 42001") == (42000, 42001)
