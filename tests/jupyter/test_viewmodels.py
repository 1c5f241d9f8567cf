"""View models: snapshots are complete and their own, updates are bounded and say what changed."""

from __future__ import annotations

import json
from typing import Any

from palm_jupyter.viewmodels import (
    ClusterView,
    Components,
    Frames,
    Frozen,
    Lines,
    Output,
    Unchanged,
    Update,
)
from palm_jupyter.viewmodels.cluster import KEPT_LINES, LINE_LIMIT, SNAPSHOT_LINES
from tests.jupyter.builders import component


def output(process: str, stream: str, lines: list[str], **more: Any) -> Output:
    return Output([Lines(process, stream, lines, **more)])


def test_snapshot_has_everything_and_is_json() -> None:
    view = ClusterView("lab")
    view.apply(Components(10.0, [component("w", "ready", "starting")]))
    view.apply(output("w-0", "stdout", ["one", "two"]))
    view.apply(output("w-0", "stderr", ["oops"]))
    snapshot = json.loads(json.dumps(view.snapshot()))
    assert (snapshot["cluster"], snapshot["time"], snapshot["live"]) == ("lab", 10.0, True)
    assert [p["name"] for p in snapshot["components"][0]["processes"]] == ["w-0", "w-1"]
    assert snapshot["output"] == {"w-0": [["stdout", "one"], ["stdout", "two"], ["stderr", "oops"]]}


def test_snapshot_of_no_lines_has_no_output() -> None:
    view = ClusterView("lab")
    view.apply(Components(10.0, [component("w", "ready")]))
    view.apply(output("w-0", "stdout", ["one"]))
    assert view.snapshot(0)["output"] == {}


def test_time_stands_still_while_the_registry_is_away() -> None:
    view = ClusterView("lab")
    view.apply(Frames(10.0))
    view.apply(Frames(20.0, away=11.0))
    assert (view.time, view.snapshot()["away"]) == (10.0, 11.0)
    view.apply(Frames(30.0))
    assert (view.time, view.snapshot()["away"]) == (30.0, 0.0)


def test_snapshot_shares_nothing_with_the_view() -> None:
    view = ClusterView("lab")
    given = component("w", "ready")
    view.apply(Components(1.0, [given]))
    given["processes"][0]["state"] = "failed"
    view.snapshot()["components"][0]["functions"].append("other")
    shown = view.snapshot()["components"][0]
    assert shown["processes"][0]["state"] == "ready"
    assert shown["functions"] == ["measure"]


def test_subscribers_hear_of_changes_and_that_there_were_none() -> None:
    view = ClusterView("lab")
    heard: list[Update] = []
    unsubscribe = view.subscribe(heard.append)
    first = Components(1.0, [component("w", "ready")])
    view.apply(first)
    view.apply(Components(2.0, [component("w", "ready")]))
    view.apply(Output([]))
    assert heard == [first, Unchanged(2.0)]
    assert view.snapshot()["time"] == 2.0
    unsubscribe()
    unsubscribe()
    view.apply(Components(3.0, []))
    assert heard == [first, Unchanged(2.0)]


def test_output_is_bounded_in_lines_and_in_their_length() -> None:
    view = ClusterView("lab")
    view.apply(Components(1.0, [component("w", "ready")]))
    view.apply(output("w-0", "stdout", [str(i) for i in range(KEPT_LINES + 7)]))
    view.apply(output("w-0", "stdout", ["x" * (LINE_LIMIT + 5)]))
    kept = view.snapshot(KEPT_LINES * 2)["output"]["w-0"]
    assert len(kept) == KEPT_LINES
    assert kept[0] == ["stdout", "8"]
    assert kept[-1][1].endswith("x ... 5 more characters")
    assert len(view.snapshot()["output"]["w-0"]) == SNAPSHOT_LINES


def test_skipped_lines_are_told() -> None:
    view = ClusterView("lab")
    view.apply(output("w-0", "stdout", ["last"], skipped=1234))
    texts = [text for _, text in view.snapshot()["output"]["w-0"]]
    assert texts == ["... 1,234 lines skipped ...", "last"]


def test_fresh_output_replaces_that_of_an_earlier_instance() -> None:
    view = ClusterView("lab")
    view.apply(output("w-0", "stdout", ["old"]))
    view.apply(output("w-0", "stdout", ["new"], fresh=True))
    assert view.snapshot()["output"]["w-0"] == [["stdout", "new"]]


def test_output_of_processes_that_are_gone_is_forgotten() -> None:
    view = ClusterView("lab")
    view.apply(Components(1.0, [component("w", "ready")]))
    view.apply(output("w-0", "stdout", ["old"]))
    view.apply(Components(2.0, []))
    assert view.snapshot()["output"] == {}


def test_frozen_view_takes_nothing_in() -> None:
    view = ClusterView("lab")
    heard: list[Update] = []
    view.subscribe(heard.append)
    view.apply(Frozen(5.0, "because"))
    view.apply(Components(6.0, [component("w", "ready")]))
    view.apply(output("w-0", "stdout", ["late"]))
    snapshot = view.snapshot()
    assert heard == [Frozen(5.0, "because")]
    assert (snapshot["live"], snapshot["time"], snapshot["note"]) == (False, 5.0, "because")
    assert not snapshot["components"] and not snapshot["output"]
