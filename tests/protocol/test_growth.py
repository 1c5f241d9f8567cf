"""What a message costs the master does not grow with the cluster: counted calls, not seconds."""

from __future__ import annotations

import pytest

from benchmarks.growth import MOST_GROWTH, SIZES, Size, calls_of_a_message


@pytest.fixture(scope="module")
def smallest() -> float:
    return calls_of_a_message(SIZES[0])


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_message_costs_no_more_in_a_larger_cluster(smallest: float, size: Size) -> None:
    assert calls_of_a_message(size) <= MOST_GROWTH * smallest


def test_message_costs_no_more_than_it_did(smallest: float) -> None:
    """A lease of five messages takes a hundred calls, of its peers' side some of them."""
    assert smallest <= 25
