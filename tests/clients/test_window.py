"""How much of a job may be under way."""

from __future__ import annotations

from palm.clients.window import MAX_BYTES, MAX_MESSAGES, Window


def filled(n: int, size: int = 0) -> Window:
    window = Window()
    window.submit(n, size)
    return window


def test_messages_in_flight_fill_it() -> None:
    window = filled(MAX_MESSAGES - 1)
    assert window.has_room
    window.submit(1, 0)
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
    window = filled(1)
    window.answer(1, MAX_BYTES // 64)
    window.consume(1, MAX_BYTES // 64)
    window.submit(63, 0)
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


def test_bytes_add_up_to_nothing_in_the_end() -> None:
    window = Window()
    for n, size in ((3, 1000), (1024, 77), (1, 0), (5, 12_345)):
        window.submit(n, size)
        window.answer(n - 1, 3 * size)
        window.answer(1, size)
        window.consume(n, 4 * size)
    assert (window.submitted, window.answered, window.consumed) == (1033, 1033, 1033)
    window.submit(MAX_MESSAGES - 1, 0)
    assert window.in_flight == MAX_MESSAGES - 1
