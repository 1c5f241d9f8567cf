"""What there is against what is wanted, and why something is missing: the rules, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from palm.registry_api.schema import NodeInfo, ReplicaStatus
from palm.spec.pool import POOL, POOL_OWNER
from palm_registry.status import Facts, cluster_status, released
from palm_registry.store.clusters import ComponentRow
from tests.support.registry import spec, status_of


def row(name: str, *, running: bool = True, ready_needs: bool = True, **more: Any) -> ComponentRow:
    return ComponentRow(spec=spec(name, **more), running=running, released=ready_needs)


def facts(
    *rows: ComponentRow, replicas: tuple[ReplicaStatus, ...] = (), alive: bool | None = True
) -> Facts:
    nodes = {} if alive is None else {"here": NodeInfo(id="here", name="here", alive=alive)}
    placed = {(r.spec.name, n): "here" for r in rows for n in range(r.spec.replicas)}
    return Facts(
        components={r.spec.name: r for r in rows},
        replicas={r.name: r for r in replicas},
        placements=placed if alive is not None else {},
        nodes=nodes,
    )


def status(found: Facts) -> Any:
    return cluster_status("c", found, generation=1, cursor="", now=0.0)


def report(of: ComponentRow, number: int = 0, **more: Any) -> ReplicaStatus:
    return status_of(of.spec, number, node="here", **more)


def test_a_cluster_that_wants_nothing_is_ready() -> None:
    assert status(facts()).ready


def test_all_that_is_wanted_is_there() -> None:
    worker = row("w", role="worker", replicas=2)
    found = status(facts(worker, replicas=(report(worker, 0), report(worker, 1))))
    assert found.ready
    assert found.missing == []
    assert (found.components[0].desired, found.components[0].actual) == (2, 2)
    assert found.components[0].state == "ready"


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        ("failed", "ended with exit code 3", "failed: it ended with exit code 3"),
        ("backing-off", "was killed by signal 9", "backing-off: it was killed by signal 9"),
        ("starting", "", "starting"),
        ("stopped", "ended with exit code 0", "stopped: it ended with exit code 0"),
    ],
)
def test_what_is_missing_says_why(state: Any, reason: str, why: str) -> None:
    worker = row("w", role="worker", replicas=3)
    reports = (report(worker, 0), report(worker, 1, state=state, reason=reason))
    found = status(facts(worker, replicas=reports))
    assert not found.ready
    assert [(m.component, m.count, m.why) for m in found.missing] == [
        ("w", 1, why),
        ("w", 1, "was never started"),
    ]
    assert found.components[0].actual == 1


def test_without_a_node_nothing_can_start() -> None:
    found = status(facts(row("a"), alive=None))
    assert [m.why for m in found.missing] == ["no node has joined"]


@pytest.mark.parametrize(
    ("pool", "labels", "why"),
    [
        ({}, {}, "waits for a place: pool pbs has no node yet"),
        ({"running": False}, {}, "no node has the label pool=pbs"),
        ({"owner": ""}, {}, "no node has the label pool=pbs"),
        ({}, {POOL: "pbs"}, "no node has the label ram=64G"),
    ],
)
def test_what_is_for_a_pool_waits_for_its_first_node(
    pool: dict[str, Any], labels: dict[str, str], why: str
) -> None:
    rows = [
        row("w", role="worker", labels={POOL: "pbs", "ram": "64G"}),
        row("pbs", **{"owner": POOL_OWNER, **pool}),
    ]
    found = facts(*rows)
    found.placements.clear()
    found.nodes["here"].labels = labels
    assert [each.why for each in status(found).missing if each.component == "w"] == [why]


def test_what_runs_on_a_lost_node_is_unknown() -> None:
    worker = row("w", role="worker", replicas=2)
    found = status(facts(worker, replicas=(report(worker, 0),), alive=False))
    assert [m.why for m in found.missing] == [
        "unknown: it is on node here, which is lost",
        "node here is lost",
    ]
    assert found.components[0].replicas[0].state == "unknown"
    assert found.components[0].state == "unknown"


def test_what_had_ended_before_its_node_was_lost_is_known() -> None:
    a = row("a")
    found = status(facts(a, replicas=(report(a, state="failed", reason="ended"),), alive=False))
    assert found.components[0].replicas[0].state == "failed"


def test_a_component_waits_for_what_it_needs() -> None:
    master = row("m", role="master")
    worker = row("w", role="worker", needs=["m"], ready_needs=False)
    assert [m.why for m in status(facts(master, worker)).missing] == [
        "was never started",
        "waits for m to be ready",
    ]
    assert released(facts(master, worker)) == []
    assert released(facts(master, worker, replicas=(report(master),))) == ["w"]


def test_what_was_released_once_goes_on_when_its_need_fails() -> None:
    master, worker = row("m", role="master"), row("w", role="worker", needs=["m"])
    found = facts(master, worker, replicas=(report(master, state="failed"), report(worker)))
    assert status(found).components[1].state == "ready"
    assert released(found) == []


def test_a_process_of_before_a_restart_does_not_count() -> None:
    old, new = row("a"), row("a")
    new.spec.generation = 7
    found = status(facts(new, replicas=(report(old),)))
    assert [m.why for m in found.missing] == ["is being replaced"]
    assert found.components[0].state == "starting"


def test_a_stopped_component_is_not_missing() -> None:
    a = row("a", running=False)
    found = status(facts(a, replicas=(report(a, state="stopped"),)))
    assert found.ready
    assert found.components[0].state == "stopped"
    assert status(facts(a, replicas=(report(a),))).components[0].state == "stopping"


def test_names_that_begin_alike_are_different_components() -> None:
    """Defect 30: ``Master2`` counted for ``Master``."""
    one, two = row("Master"), row("Master2")
    found = status(facts(one, two, replicas=(report(two),)))
    assert [m.component for m in found.missing] == ["Master"]


def test_processes_of_a_forgotten_component_show_until_they_end() -> None:
    gone = row("gone")
    found = status(facts(replicas=(report(gone),)))
    assert found.ready
    assert [(c.name, c.state, c.desired) for c in found.components] == [("gone", "stopping", 0)]
    assert status(facts(replicas=(report(gone, state="stopped"),))).components == []


# ---- every state has words

#: State of a report, its exit code, what it says, and how it is counted: ready, done or missing.
REPORTS: tuple[tuple[str, int | None, str, str], ...] = (
    ("ready", None, "", "ready"),
    ("stopped", 0, "ended with exit code 0", "done"),
    ("stopped", -15, "was stopped", "missing"),
    ("starting", None, "", "missing"),
    ("starting", None, "waits for the address of foo.pull", "missing"),
    ("stopping", None, "is being stopped", "missing"),
    ("backing-off", 3, "ended with exit code 3", "missing"),
    ("backing-off", -11, "was killed by SIGSEGV (segmentation fault)", "missing"),
    ("failed", 1, "ended with exit code 1, 5 times in a row", "missing"),
    ("failed", None, "cannot be started: there is no such file", "missing"),
    ("", None, "", "missing"),
)
NEEDS_ATTENTION = (
    "failed", "unknown", "backing-off", "starting", "stopping", "stopped", "ready",
)  # fmt: skip


def reported(of: ComponentRow, number: int, case: tuple[str, int | None, str, str]) -> Any:
    state, exit_code, reason, _ = case
    if not state:
        return None
    return report(of, number, state=state, exit=exit_code, reason=reason)


@pytest.mark.parametrize("alive", [True, False], ids=["there", "lost"])
@pytest.mark.parametrize("second", REPORTS, ids=lambda case: f"{case[0] or 'none'}-{case[1]}")
@pytest.mark.parametrize("first", REPORTS, ids=lambda case: f"{case[0] or 'none'}-{case[1]}")
def test_every_state_is_counted_and_says_why(first: Any, second: Any, alive: bool) -> None:
    worker = row("w", role="worker", replicas=2)
    cases = (first, second)
    reports = [reported(worker, number, case) for number, case in enumerate(cases)]
    found = status(facts(worker, replicas=tuple(r for r in reports if r), alive=alive))
    shown = found.components[0]
    states, counts = [], []
    for state, _, _, count in cases:
        lost = not alive and state in ("ready", "starting", "stopping", "backing-off")
        states.append("unknown" if lost else state or "starting")
        counts.append("missing" if lost else count)
    assert shown.state == min(states, key=NEEDS_ATTENTION.index)
    assert (shown.actual, shown.done) == (counts.count("ready"), counts.count("done"))
    assert sum(m.count for m in found.missing) == counts.count("missing")
    assert found.ready == (not found.missing)
    for missing in found.missing:
        assert missing.why in shown.reason
        assert f"{missing.count} missing: {missing.why}" in shown.conditions
    if not found.missing and shown.done:
        assert f"{shown.done} done: ended with exit code 0" in shown.conditions
    for state, (_, _, reason, count) in zip(states, cases, strict=True):
        if count == "missing" and state != "unknown":
            assert reason in shown.reason
        if state == "unknown":
            assert "unknown: it is on node here, which is lost" in shown.reason
    assert (shown.reason == "") == (shown.actual == 2)


def test_one_that_is_not_wanted_says_why_it_does_not_run() -> None:
    def reason(of: ComponentRow, *replicas: ReplicaStatus) -> str:
        return str(status(facts(of, replicas=replicas)).components[0].reason)

    stopped, none = row("a", running=False), row("w", role="worker", replicas=0)
    assert reason(stopped) == "was stopped"
    assert reason(stopped, report(stopped)) == "is to stop: 1 not over yet"
    assert reason(none) == "has no replicas"
    done = row("b")
    assert reason(done, report(done, state="stopped", exit=0)) == "has done what it was there for"


def test_more_than_is_wanted_is_told() -> None:
    worker = row("w", role="worker", replicas=1)
    found = status(facts(worker, replicas=(report(worker, 0), report(worker, 1))))
    assert found.ready
    assert found.components[0].conditions == ["1 beyond the wanted: to be stopped"]
