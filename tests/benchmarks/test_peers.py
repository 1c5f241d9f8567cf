from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.peers import environments, parts
from benchmarks.peers.environments import CONSTRAINTS, PEERS, environment
from benchmarks.processes import BrokenError
from benchmarks.report import Report


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    return tmp_path


def test_every_peer_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in CONSTRAINTS.read_text().splitlines()}
    assert set(PEERS.values()) <= pinned


def test_environment_that_is_not_there_in_time_is_an_error(folder: Path) -> None:
    with pytest.raises(BrokenError, match=r"`python -m venv .*` took too long"):
        environment("Ray", within=0.0)


def test_command_that_fails_says_why() -> None:
    command = [sys.executable, "-c", "print('ERROR: no such version'); print('a hint'); exit(1)"]
    with pytest.raises(BrokenError, match="failed: ERROR: no such version"):
        environments._run(command, time.monotonic() + 30)


def test_environment_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], until: float) -> str:
        commands.append(command)
        (folder / "ray" / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "ray" / "bin" / "python").touch()
        return ""

    monkeypatch.setattr(environments, "_run", run)
    python = environment("Ray")
    assert len(commands) == 2
    assert environment("Ray") == python == str(folder / "ray" / "bin" / "python")
    assert len(commands) == 2
    monkeypatch.setitem(PEERS, "Ray", "ray[default]")
    environment("Ray")
    assert len(commands) == 4


def test_peer_that_cannot_be_installed_is_said_and_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(peer: str) -> str:
        if peer == "Ray":
            raise BrokenError("no such version")
        return sys.executable

    monkeypatch.setattr(parts, "environment", refuse)
    monkeypatch.setattr(parts, "version", lambda peer: "1.0")
    report = Report(quick=True)
    plans = parts.plans_of(report)
    assert "Dask" in plans
    assert "Ray" not in plans
    assert report.remarks == ["NOT MEASURED: Ray could not be installed: no such version"]


def test_system_that_fails_is_said_and_the_others_are_measured() -> None:
    def act(value: float) -> dict[str, float]:
        if value < 0:
            raise BrokenError("it ended\nTraceback:\nValueError: 1")
        return {parts.EACH: value}

    report = Report(quick=True)
    table = parts.Table(report, ["bad", "good"])
    assert not table.measure("bad", act, -1.0)
    assert table.measure("good", act, 1.0, counts=False)
    assert table.measure("good", act, 2.0)
    table.ends["good"] = ["finishes", "finishes"]
    table.publish()
    (grid,) = report.grids
    assert grid.rows()[1:] == [("good", "2", "finishes")]
    assert report.remarks[0] == "FAILED: bad, act: BrokenError: it ended: ValueError: 1"
