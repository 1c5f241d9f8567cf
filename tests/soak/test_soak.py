"""The soak in a short form; `python -m tests.soak` is the long one, of ten minutes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.soak.__main__ import run
from tests.soak.samples import Bound, growths, slope


@pytest.mark.slow
def test_a_registry_that_many_use_loses_nothing_over_restarts(palm_home: Path) -> None:
    """F26, F27, F32: and ends no call with an error that is not of the moment."""
    found, shared = run(palm_home, 20.0, seed=time.time_ns() % 1_000_000)
    assert not shared.complaints, shared.complaints[:10]
    assert shared.done["bytes followed"] > 0
    assert shared.done["searches"] > 0
    assert shared.done["kill -9 of the registry"] + shared.done["restarts of the registry"] > 0
    # So short a time shows no slope, only that nothing runs away.
    assert all(growth.most <= growth.bound.most for growth in found), [str(g) for g in found]


def test_what_grows_is_seen() -> None:
    rising = [(float(at), {"x": 10.0 + 0.5 * at}) for at in range(100)]
    flat = [(float(at), {"x": 10.0 + at % 2}) for at in range(100)]
    assert slope([(at, v["x"]) for at, v in rising])[1] == pytest.approx(0.5)
    (grown,) = growths(rising, {"x": Bound(5, 100)}, 0.1)
    assert not grown.holds
    assert "TOO MUCH" in str(grown)
    (steady,) = growths(flat, {"x": Bound(5, 100)}, 0.1)
    assert steady.holds
    (large,) = growths(flat, {"x": Bound(5, 10)}, 0.1)
    assert not large.holds
