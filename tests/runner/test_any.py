"""Anything can be a component, and one that is bad never stops the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.registry_api.schema import ComponentSpec
from palm.spec.limits import Limits
from tests.runner.conftest import SERVE
from tests.support.nodes import FakeRegistry, RunningNode, component, eventually


def test_any_executable_can_be_a_component(
    registry: FakeRegistry, node: RunningNode, tmp_path: Path
) -> None:
    script = tmp_path / "serve.sh"
    script.write_text("#!/bin/sh\ntrap 'echo bye; exit 0' TERM\necho up $1\nsleep 60 & wait\n")
    script.chmod(0o755)
    registry.want(
        (ComponentSpec(name="sh", command=[str(script)], args=["${name}"], ready="log:up"), 1),
        (ComponentSpec(name="binary", command=["sleep", "60"], ready="delay:0.1"), 2),
        (
            ComponentSpec(
                name="limited", command=["sleep", "60"], ready="delay:0",
                limits=Limits(open_files=64, memory=1 << 30),
            ),
            1,
        ),
    )  # fmt: skip
    assert registry.are(sh="ready", binary="ready", binary_1="ready", limited="ready")
    instance = registry.replicas["sh"].instance
    assert eventually(lambda: registry.output.get((instance, "stdout")) == b"up sh\n")
    registry.want()
    assert registry.are(sh="stopped", binary="stopped", binary_1="stopped", limited="stopped")
    assert registry.replicas["sh"].exit == 0
    assert eventually(lambda: registry.output.get((instance, "stdout")) == b"up sh\nbye\n")


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o000)
    yield folder
    folder.chmod(0o700)


FLOOD = "import sys\nwhile True: sys.stdout.write('x' * 65535 + '\\n')\n"
BAD: dict[str, ComponentSpec] = {
    "missing": ComponentSpec(name="missing", command=["/no/such/program"]),
    "crashing": component("crashing", "raise SystemExit(3)"),
    "silent": component("silent", "import time; time.sleep(60)", ready_timeout=0.3, grace=0.2),
    "flood": component("flood", FLOOD, ready="delay:0"),
    "hungry": component(
        "hungry", "held = bytearray(1 << 28); held[::4096] = b'x' * len(held[::4096])\n"
        "import time; time.sleep(60)", ready="delay:0", limits=Limits(memory=1 << 26),
    ),
    "wrong": ComponentSpec(name="wrong", command=["true"], ready="log:("),
    "entry": ComponentSpec(name="entry", entry="no:such:entry"),
}  # fmt: skip


def test_bad_components_never_stop_the_others(
    registry: FakeRegistry, node: RunningNode, locked: Path
) -> None:
    good = component("good", SERVE)
    homeless = component("homeless", SERVE, cwd=str(locked / "below"))
    registry.want((good, 1))
    assert registry.are(good="ready")
    before = registry.replicas["good"].pid
    registry.want((good, 1), (homeless, 1), *((spec, 1) for spec in BAD.values()))
    failing = {"missing", "crashing", "silent", "hungry", "wrong", "entry", "homeless"}
    assert eventually(
        lambda: (
            failing
            <= {name for name, state in registry.history if state in ("backing-off", "failed")}
        ),
        40.0,
    )
    assert registry.states()["good"] == "ready"
    assert registry.replicas["good"].pid == before
    # Who comes later is served as soon as ever, and says so.
    registry.want((good, 1), (component("late", SERVE), 1), (BAD["flood"], 1))
    assert eventually(lambda: registry.states().get("late") == "ready", 10.0)
    late = registry.replicas["late"]
    assert eventually(
        lambda: registry.output.get((late.instance, "stdout")) == f"up {late.pid}\n".encode()
    )
    registry.want((good, 1))
    assert eventually(lambda: registry.states()["flood"] == "stopped")
    assert registry.replicas["good"].restarts == 0


def test_crash_loop_ends_with_its_reason(
    registry: FakeRegistry, node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm.runner.supervisor.BACKOFF_FIRST", 0.01)
    registry.want((component("foo", "raise SystemExit(3)"), 1))
    assert eventually(lambda: registry.states().get("foo") == "failed")
    status = registry.replicas["foo"]
    assert status.reason == "ended with exit code 3 before it was ready, 5 times in a row"
    assert (status.restarts, status.exit) == (4, 3)
