"""Which cluster a command means that names none."""

from __future__ import annotations

import json

from tests.cli.conftest import Shell


def test_only_cluster_that_runs_needs_no_name(shell: Shell) -> None:
    shell.env.pop("PALM_CLUSTER", None)
    shell.palm("--cluster", "demo", "up")
    assert json.loads(shell.palm("status", "--json").stdout)["cluster"] == "demo"
    assert "nothing runs in cluster 'default'" in shell.palm("--cluster", "default", "ps").stdout
    shell.palm("up")  # begins the default one
    assert json.loads(shell.palm("status", "--json").stdout)["cluster"] == "default"
    shell.palm("down")
    shell.palm("down")  # by now demo is the only one
    assert "default" in shell.palm("down").stdout


def test_of_several_clusters_none_is_chosen(shell: Shell) -> None:
    shell.env.pop("PALM_CLUSTER", None)
    for name in ("one", "two"):
        shell.palm("--cluster", name, "up")
    done = shell.palm("scale", "foo", "2", code=3)
    assert "there is one, two: --cluster NAME" in done.stderr


def test_file_that_is_compared_names_its_cluster(shell: Shell) -> None:
    shell.env.pop("PALM_CLUSTER", None)
    shell.palm("--cluster", "demo", "up")
    file = shell.write("other.toml", '[cluster]\nname = "other"\n')
    assert "no cluster 'other'" in shell.palm("diff", file, code=3).stderr
    assert shell.palm("diff", "7", code=3).stderr.startswith("palm: ")
    assert "'demo'" in shell.palm("history").stdout
