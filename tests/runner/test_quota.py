"""The rules by which output that waits stays within bounds: F30."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.runner.quota import LOW_QUOTA, Disk, Quota, is_low
from palm.spec.spool import SPOOL_POLICIES, SpoolPolicy

MIB = 1024 * 1024
GIB = 1024 * MIB


def paused(quota: Quota, *waiting: int, low: bool = False) -> list[bool]:
    return [bool(quota.judge(each, low=low, can_free=True).pause) for each in waiting]


def test_process_is_suspended_beyond_its_quota_and_goes_on_well_below_it() -> None:
    quota = Quota("block", 8 * MIB)
    sizes = [8 * MIB, 8 * MIB + 1, 8 * MIB, 7 * MIB + 1, 7 * MIB, 8 * MIB]
    assert paused(quota, *sizes) == [False, True, True, True, False, False]


def test_pause_from_a_large_quota_is_short() -> None:
    quota = Quota("block", GIB)
    assert paused(quota, GIB + 1, GIB - 15 * MIB, GIB - 16 * MIB) == [True, True, False]


def test_reason_says_how_much_waits_and_for_what() -> None:
    verdict = Quota("block", GIB).judge(GIB + 7, low=False, can_free=True)
    assert verdict.pause == "paused: 1.0 GiB of its output wait for the registry"
    verdict = Quota("block", GIB).judge(3 * MIB, low=True, can_free=True)
    assert verdict.pause == (
        "paused: the disk is almost full, and 3.0 MiB of its output wait for the registry"
    )


def test_oldest_is_dropped_as_far_as_it_is_too_much_and_a_bit_more() -> None:
    verdict = Quota("drop-oldest", 8 * MIB).judge(9 * MIB, low=False, can_free=True)
    assert (verdict.pause, verdict.drop, verdict.reason) == ("", 2 * MIB, "quota")


def test_where_nothing_can_be_freed_nothing_is_dropped() -> None:
    verdict = Quota("drop-oldest", 8 * MIB).judge(9 * MIB, low=False, can_free=False)
    assert verdict.drop == 0
    assert verdict.pause


def test_without_a_quota_only_a_disk_that_is_almost_full_counts() -> None:
    quota = Quota("block", None)
    assert paused(quota, 100 * GIB) == [False]
    assert paused(quota, LOW_QUOTA, LOW_QUOTA + 1, low=True) == [False, True]
    assert paused(quota, 100 * GIB) == [False]


def test_while_the_disk_is_almost_full_who_writes_little_goes_on() -> None:
    assert paused(Quota("block", GIB), 100_000, low=True) == [False]
    verdict = Quota("drop-oldest", GIB).judge(2 * MIB, low=True, can_free=True)
    assert verdict.drop > MIB
    assert verdict.reason == "disk"


@given(
    policy=st.sampled_from(SPOOL_POLICIES),
    quota=st.none() | st.integers(MIB, 4 * GIB),
    rounds=st.lists(st.tuples(st.integers(0, 8 * GIB), st.booleans(), st.booleans())),
)
def test_whoever_has_nothing_that_waits_is_never_suspended(
    policy: SpoolPolicy, quota: int | None, rounds: list[tuple[int, bool, bool]]
) -> None:
    bounds = Quota(policy, quota)
    for waiting, low, can_free in rounds:
        verdict = bounds.judge(waiting, low=low, can_free=can_free)
        assert 0 <= verdict.drop <= waiting
        assert not (verdict.pause and verdict.drop)
        limit = min(quota or waiting, LOW_QUOTA if low else waiting)
        if waiting > limit:
            assert verdict.pause or verdict.drop
    assert not bounds.judge(0, low=True, can_free=False).pause


@pytest.mark.parametrize(
    ("total", "free", "was", "low"),
    [
        (100 * GIB, 64 * MIB, False, False),
        (100 * GIB, 64 * MIB - 1, False, True),
        (100 * GIB, 100 * MIB, True, True),
        (100 * GIB, 128 * MIB, True, False),
        (32 * MIB, 2 * MIB, False, False),
        (32 * MIB, 2 * MIB - 1, False, True),
        (0, 0, False, False),
    ],
)
def test_disk_is_almost_full_below_a_mark_until_there_is_twice_the_room(
    total: int, free: int, was: bool, low: bool
) -> None:
    assert is_low(Disk(total, free), was) is low
