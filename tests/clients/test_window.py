"""How much of a job may be under way."""

from __future__ import annotations

import pytest

from palm.clients.window import FIRST, FULL_BATCH, GROWTH, MAX_BYTES, MAX_MESSAGES, Window


def filled(n: int, size: int = 0) -> Window:
    """A window that has seen enough to be at its full size, with messages in flight."""
    window = Window()
    window.submit(MAX_MESSAGES, 0)
    window.answer(MAX_MESSAGES, 0)
    window.consume(MAX_MESSAGES, 0)
    window.submit(n, size)
    return window


def test_messages_in_flight_fill_it() -> None:
    window = filled(MAX_MESSAGES - 1)
    assert window.has_room
    window.submit(1, 0)
    assert not window.has_room


def test_it_is_small_until_the_size_of_results_is_known() -> None:
    window = Window()
    window.submit(FIRST, 0)
    assert not window.has_room
    window.answer(1, 100)
    assert window.has_room
    for _ in range(4):
        while window.has_room:
            window.submit(1, 0)
        window.answer(window.in_flight, 100)
        window.consume(window.answered - window.consumed, 100)
    while window.has_room:
        window.submit(1, 0)
    assert window.in_flight == MAX_MESSAGES


def test_large_results_never_let_it_grow() -> None:
    window = Window()
    window.submit(FIRST, 0)
    window.answer(FIRST, FIRST * MAX_BYTES // 16)
    assert not window.has_room


def test_results_that_wait_keep_their_place() -> None:
    window = filled(MAX_MESSAGES)
    window.answer(MAX_MESSAGES, 0)
    assert window.in_flight == 0
    assert not window.has_room
    window.consume(1, 0)
    assert window.has_room


def test_bytes_of_inputs_fill_it() -> None:
    window = filled(2, MAX_BYTES)
    assert not window.has_room
    window.answer(1, 0)
    assert window.has_room


def test_bytes_of_results_fill_it() -> None:
    window = filled(2)
    window.answer(2, MAX_BYTES)
    assert not window.has_room
    window.consume(1, MAX_BYTES // 2)
    assert window.has_room


def test_room_for_results_is_reserved() -> None:
    window = Window()
    window.submit(8, 0)
    window.answer(8, MAX_BYTES // 4)
    window.consume(8, MAX_BYTES // 4)
    window.submit(31, 0)
    assert window.has_room
    window.submit(1, 0)
    assert not window.has_room


def test_one_larger_message_goes_alone() -> None:
    window = Window()
    assert window.has_room
    window.submit(1, 10 * MAX_BYTES)
    assert not window.has_room
    window.answer(1, 10 * MAX_BYTES)
    assert not window.has_room
    window.consume(1, 10 * MAX_BYTES)
    assert window.has_room


def test_a_caller_who_wants_all_is_not_waited_for() -> None:
    window = filled(MAX_MESSAGES)
    window.answer(MAX_MESSAGES, MAX_BYTES)
    assert not window.has_room
    window.collecting = True
    assert window.has_room
    window.submit(MAX_MESSAGES, 0)
    assert not window.has_room


def test_it_is_low_when_a_full_batch_is_free() -> None:
    window = filled(MAX_MESSAGES)
    window.answer(FULL_BATCH - 1, 0)
    window.consume(FULL_BATCH - 1, 0)
    assert window.has_room
    assert not window.is_low
    window.answer(1, 0)
    window.consume(1, 0)
    assert window.is_low


@pytest.mark.parametrize(("more", "is_low"), [(0, True), (1, False)])
def test_it_is_low_when_half_of_it_is_free_while_it_is_small(more: int, is_low: bool) -> None:
    window = Window()
    window.submit(FIRST, 0)
    window.answer(FIRST, 0)
    window.consume(FIRST, 0)
    window.submit((FIRST + GROWTH * FIRST) // 2 + more, 0)
    assert window.has_room
    assert window.is_low is is_low


def test_it_is_low_when_little_is_in_flight_and_there_is_room() -> None:
    window = filled(MAX_MESSAGES)
    window.answer(MAX_MESSAGES, 0)
    assert not window.is_low
    window.consume(1, 0)
    assert window.is_low


def test_bytes_add_up_to_nothing_in_the_end() -> None:
    window = Window()
    for n, size in ((3, 1000), (1024, 77), (1, 0), (5, 12_345)):
        window.submit(n, size)
        window.answer(n - 1, 3 * size)
        window.answer(1, size)
        window.consume(n, 4 * size)
    assert (window.submitted, window.answered, window.consumed) == (1033, 1033, 1033)
    window.submit(FIRST + GROWTH * 1033 - 1, 0)
    assert window.has_room
