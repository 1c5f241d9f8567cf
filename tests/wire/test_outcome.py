"""Failures travel, and become the errors that callers see."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm import errors
from palm.errors import JobError, PayloadTooLarge, TaskError, WireError
from palm.wire.outcome import Failure, Kind, decode_failure, describe, encode_failure
from tests.wire.strategies import texts

FAILURES = [kind for kind in Kind if kind not in (Kind.RESULT, Kind.MANY)]

WHERE = {"function": "foo.f", "worker": "w-1", "attempts": 2, "index": 5}


@given(texts, texts, texts)
def test_failure_arrives_with_its_text_escaped_where_it_must(a: str, b: str, c: str) -> None:
    failure = Failure(a, b, c, 3)
    arrived = decode_failure(encode_failure(failure))
    assert arrived.limit == 3
    for sent, text in [(a, arrived.type), (b, arrived.text), (c, arrived.traceback)]:
        assert text == sent.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.name)
def test_every_kind_of_failure_is_an_error_that_says_where(kind: Kind) -> None:
    error = Failure("Type", "text", "Traceback: here", 7).to_error(kind, **WHERE)
    assert isinstance(error, JobError)
    assert {name: getattr(error, name) for name in WHERE} == WHERE
    assert "text" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and vars(copy) == vars(error)
    if isinstance(error, TaskError):
        assert error.type == "Type" and str(error).endswith("Traceback: here")
    if isinstance(error, PayloadTooLarge):
        assert error.limit == 7


def test_kinds_and_errors_have_the_same_names() -> None:
    for kind in FAILURES:
        name = "".join(part.title() for part in kind.name.split("_"))
        assert type(Failure("T", "t").to_error(kind, **WHERE)) is getattr(errors, name)


@pytest.mark.parametrize("kind", [Kind.RESULT, Kind.MANY, 13, 255, -1])
def test_kind_that_is_no_failure_is_a_wire_error(kind: int) -> None:
    with pytest.raises(WireError, match="kind"):
        Failure("T", "t").to_error(kind, **WHERE)


@given(st.binary(max_size=30))
def test_bytes_that_are_no_failure_are_a_wire_error(payload: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_failure(payload)


# What users' errors say of themselves


class MuteError(Exception):
    """Its text cannot be had: ``how`` is what happens instead."""

    def __init__(self, how: BaseException | None) -> None:
        super().__init__()
        self.how = how

    def __str__(self) -> str:
        if self.how is None:
            return None  # type: ignore[return-value]
        raise self.how


@pytest.mark.parametrize("how", [None, ValueError("no"), SystemExit(3), RecursionError()], ids=repr)
def test_error_without_a_text_is_described_all_the_same(how: BaseException | None) -> None:
    name = type(how).__name__ if how is not None else "TypeError"
    assert describe(MuteError(how)) == f"<its text cannot be shown: {name}>"
    assert describe(ValueError("x")) == "x"


def test_describing_can_be_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt):
        describe(MuteError(KeyboardInterrupt()))
