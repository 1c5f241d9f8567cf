"""Folders of palm for tests, in place of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def use_folders(environment: pytest.MonkeyPatch, home: Path) -> None:
    """Point palm at folders in ``home`` and hide the settings of the user's shell."""
    for name in [name for name in os.environ if name.startswith("PALM_")]:
        environment.delenv(name)
    environment.setenv("PALM_RUN_DIR", str(home / "run"))
    environment.setenv("PALM_STATE_DIR", str(home / "state"))
