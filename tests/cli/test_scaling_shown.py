"""What ``palm status`` says of a component that scales itself."""

from __future__ import annotations

import json

import pytest

from palm.cli.commands.status import show
from palm.clusters.status import cluster_status, table
from palm.registry_api.schema import ClusterStatus, ComponentStatus, Scaling

TEXT = "4 of 2..16, wants 6: 1,200 waiting"


def component(name: str, scaling: Scaling | None = None) -> ComponentStatus:
    return ComponentStatus(
        name=name, role="worker", desired=4, actual=4, state="ready", scaling=scaling
    )


def test_status_has_a_line_for_what_scales_itself(capsys: pytest.CaptureFixture[str]) -> None:
    scaling = Scaling(least=2, most=16, wants=6, waiting=1200, text=TEXT)
    found = ClusterStatus(
        cluster="c", ready=True, components=[component("w", scaling), component("v")]
    )
    status = cluster_status(found)
    show(status, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:] == [f"scaling: w: {TEXT}"]
    assert table(status).splitlines()[-1].strip() == f"scaling: w: {TEXT}"
    show(status, as_json=True)
    values = json.loads(capsys.readouterr().out)["components"]
    assert {each["name"]: each["scaling"] for each in values} == {"w": TEXT, "v": ""}
