from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.placeholder import Placeholder, parse_argument


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("${name}", Placeholder("name")),
        ("${node}", Placeholder("node")),
        ("${replica}", Placeholder("replica")),
        ("${socket:foo.db}", Placeholder("socket", "foo", "db")),
        ("plain", "plain"),
        ("", ""),
        ("$HOME", "$HOME"),
        ("{name}", "{name}"),
        ("a $${name} b", "a ${name} b"),
    ],
)
def test_an_argument_is_a_placeholder_as_a_whole_or_text(
    text: str, meant: Placeholder | str
) -> None:
    assert parse_argument(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "${}",
        "${nam}",
        "${socket:}",
        "${socket:foo}",
        "${socket:a.b.c}",
        "${socket:../x.y}",
        "--n=${name}",
        "${name}${node}",
        "${name} ",
        "${x.__class__}",
        "${env:HOME}",
    ],
)
def test_everything_else_that_looks_like_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_argument(text)
    assert caught.value.hint


def test_a_socket_belongs_to_a_component_of_the_cluster() -> None:
    with pytest.raises(ConfigError, match="did you mean 'foo'"):
        parse_argument("${socket:fo.db}", ["foo", "bar"])


@given(st.text())
def test_text_without_a_placeholder_stays(text: str) -> None:
    if "${" not in text:
        assert parse_argument(text) == text
