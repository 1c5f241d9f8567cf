"""Where a Python on another machine is; the rest needs one (tests/integration)."""

from __future__ import annotations

import pytest

from palm.engines.ssh import from_home


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("~/palm-env/bin/python", "./palm-env/bin/python"),
        ("palm-env/bin/python", "palm-env/bin/python"),
        ("/opt/python3", "/opt/python3"),
        ("~ada/python", "~ada/python"),
    ],
)
def test_a_path_that_begins_at_home_needs_no_shell_to_be_found(given: str, found: str) -> None:
    assert from_home(given) == found
