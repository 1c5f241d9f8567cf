"""Chaos on real processes: see ``python -m tests.chaos --help``.

Half a minute of load each in CI and 12 s elsewhere, as long as you like with ``CHAOS_SECONDS``;
the seed is printed, ``CHAOS_SEED`` gives one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.__main__ import FAULTS_A_MINUTE, LONGER
from tests.chaos.cluster import ClusterSystem
from tests.support.cluster import ROOT
from tests.support.requirements import in_ci

SECONDS = float(os.environ.get("CHAOS_SECONDS", "30" if in_ci() else "12"))
SEED = os.environ.get("CHAOS_SEED", "")

#: Seconds that the last jobs, and the end of all processes, may take.
ENDING = 240


def chaos(folder: Path, seconds: float, *options: str) -> tuple[str, dict[str, Any]]:
    """Run the script; return what it printed and its figures."""
    figures = folder / "figures.json"
    command = [sys.executable, "-m", "tests.chaos", "--seconds", str(seconds)]
    command += ["--folder", str(folder / "chaos"), "--json", str(figures), *options]
    done = subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, check=False,
        timeout=LONGER * seconds + ENDING,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(figures.read_text())


@pytest.mark.slow
@pytest.mark.timeout(LONGER * SECONDS + ENDING + 30)
@pytest.mark.parametrize("system", ["palm", "cluster"])
def test_no_outcome_is_lost_or_doubled_whatever_dies(palm_home: Path, system: str) -> None:
    options = ["--system", system, *(["--seed", SEED] if SEED else [])]
    printed, figures = chaos(palm_home, SECONDS, *options)
    slower = ClusterSystem.pace if system == "cluster" else 1.0
    assert sum(figures["faults"].values()) >= int(FAULTS_A_MINUTE * SECONDS / 60 / slower)
    assert figures["killed_in_the_middle"] > 0
    assert not any(figures[what] for what in ("lost", "hung", "failed", "doubled", "wrong"))
    assert figures["left behind"] == 0
    assert f"{figures['again']} of them again" in printed
    if system == "cluster":
        assert figures["output"] >= figures["executions"], "each run of a message is a line"


@pytest.mark.slow
def test_run_in_which_nothing_was_killed_in_the_middle_fails(palm_home: Path) -> None:
    with pytest.raises(AssertionError, match="no kill hit a worker in the middle"):
        chaos(palm_home, 0.0)
