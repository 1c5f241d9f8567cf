from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.endpoint import MAX_IPC_PATH, Endpoint, is_loopback, parse_address

HOSTS = st.one_of(
    st.sampled_from(
        ["127.0.0.1", "0.0.0.0", "*", "localhost", "node-7.example.org", "::1", "fe80::1"]
    ),
    st.ip_addresses().map(str),
)
PATHS = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20
).filter(lambda text: not text.endswith("/"))


@given(HOSTS, st.integers(0, 65535))
def test_a_tcp_address_comes_back_as_it_was(host: str, port: int) -> None:
    endpoint = Endpoint("tcp", host=host, port=port)
    assert parse_address(str(endpoint)) == endpoint


@given(PATHS)
def test_an_ipc_address_comes_back_as_it_was(path: str) -> None:
    endpoint = Endpoint("ipc", path="/" + path)
    assert parse_address(str(endpoint)) == endpoint


@given(st.text())
def test_any_text_is_an_endpoint_a_name_or_a_config_error(text: str) -> None:
    try:
        found = parse_address(text)
    except ConfigError:
        return
    assert parse_address(str(found)) == found


@given(st.from_regex(r"(tcp|ipc)://[\[\]0-9a-f.:*@/ -]*", fullmatch=True))
def test_whatever_is_taken_means_what_it_says(text: str) -> None:
    try:
        found = parse_address(text)
    except ConfigError:
        return
    assert isinstance(found, Endpoint)
    assert parse_address(str(found)) == found


def test_a_bare_word_is_the_name_of_a_component() -> None:
    assert parse_address("foo") == "foo"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo bar",
        "localhost:5555",
        "tcp:/127.0.0.1:5555",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://:5555",
        "tcp://a b:5555",
        "tcp://user@host:5555",
        "tcp://::1:5555",
        "tcp://[127.0.0.1]:5555",
        "tcp://127.0.0.1:5555/x",
        "TCP://127.0.0.1:5555",
        "inproc://foo",
        "http://127.0.0.1:80",
        " tcp://127.0.0.1:5555",
        "tcp://127.0.0.1:5555\n",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


@pytest.mark.parametrize("text", ["foo bar", "inproc://foo", "127.0.0.1:5555"])
def test_a_refusal_gives_the_forms(text: str) -> None:
    with pytest.raises(ConfigError, match=r"tcp://HOST:PORT, ipc:///PATH, or the name"):
        parse_address(text)


@pytest.mark.parametrize(
    "port", ["", "*", "-1", "+5", "65536", "99999", "000000", "5_5", "٣", " 5"]
)
def test_a_port_is_a_number_of_16_bits(port: str) -> None:
    with pytest.raises(ConfigError, match="valid port"):
        parse_address(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("path", ["", "*", "foo", "./foo", "@foo", "/foo/", "/a\0b", "/a\nb"])
def test_an_ipc_path_is_an_absolute_one_with_permissions(path: str) -> None:
    with pytest.raises(ConfigError, match="valid path"):
        parse_address(f"ipc://{path}")


def test_an_ipc_path_fits_in_a_socket_address() -> None:
    longest = "/" + "ä" * ((MAX_IPC_PATH - 1) // 2)
    assert str(parse_address(f"ipc://{longest}")) == f"ipc://{longest}"
    with pytest.raises(ConfigError, match="107"):
        parse_address(f"ipc://{longest}ä")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("ipc:///tmp/foo", True),
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.8.9.10:1", True),
        ("tcp://localhost:1", True),
        ("tcp://LocalHost:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://*:1", False),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://10.0.0.1:1", False),
        ("tcp://eth0:1", False),
        ("tcp://127.example.org:1", False),
    ],
)
def test_local_is_what_no_other_machine_can_reach(text: str, local: bool) -> None:
    endpoint = parse_address(text)
    assert isinstance(endpoint, Endpoint)
    assert endpoint.is_local is local


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("127.1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("*", False),
        ("128.0.0.1", False),
        ("127.0.0.256", False),
        ("127.0.0.1.2", False),
        ("127.0.0.x", False),
        ("127.0.0.\u0661", False),
        ("127.0.0.1.example.org", False),
        ("localhost.example.org", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("127.0.0.1:80", False),
        ("[::1]", False),
    ],
)
def test_loopback_is_this_machine_for_itself_alone(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_an_ipv6_host_has_brackets_in_text_only() -> None:
    endpoint = parse_address("tcp://[fe80::1]:80")
    assert isinstance(endpoint, Endpoint)
    assert (endpoint.host, endpoint.is_ipv6) == ("fe80::1", True)
    assert str(endpoint) == "tcp://[fe80::1]:80"
