from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.names import check_name, nearest

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@given(st.text(ALPHABET, min_size=1, max_size=64))
def test_every_name_of_the_alphabet_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


@given(st.text())
def test_nothing_else_is_a_name(text: str) -> None:
    valid = 1 <= len(text) <= 64 and set(text) <= set(ALPHABET)
    if valid:
        assert check_name(text) == text
    else:
        with pytest.raises(ConfigError):
            check_name(text)


@pytest.mark.parametrize("text", ["", "a" * 65, "a.b", "../a", "a/b", "a b", "a\n", "ä", "٣", "\0"])
def test_a_refusal_says_the_rule(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name(text)
    assert "64" in str(caught.value.hint)
    assert repr(text) in str(caught.value)


def test_the_nearest_name_is_the_one_with_a_letter_too_many() -> None:
    assert nearest("fooo", ["bar", "foo", "quux"]) == "foo"


def test_nothing_is_near_a_name_that_is_like_none() -> None:
    assert nearest("alpha", ["bar", "quux"]) is None
    assert nearest("alpha", []) is None


def test_the_nearest_name_does_not_depend_on_the_order() -> None:
    assert nearest("fo", ["foo", "fob"]) == nearest("fo", ["fob", "foo"])
