"""What a panel asks for is done, to real components."""

from __future__ import annotations

import pytest

from palm_jupyter.actions import perform
from tests.jupyter.conftest import Shell
from tests.support.cluster import until

WORKER = "%%palm_worker foo --name w;\ndef f(x):\n    return x\n"


@pytest.mark.slow
def test_components_are_scaled_stopped_started_and_restarted(shell: Shell) -> None:
    shell.ok("%load_ext palm_jupyter\n%palm master --name foo;")
    shell.ok(WORKER)
    cluster = shell.shell.magics_manager.registry["PalmMagics"].session.cluster
    workers = cluster["w"]
    perform(cluster, {"do": "scale", "component": "w", "replicas": 2})
    until(lambda: workers.status().ready == 2, within=30)
    perform(cluster, {"do": "stop", "component": "w"})
    assert (workers.state, workers.pids) == ("stopped", ())  # it returns when they are gone
    perform(cluster, {"do": "start", "component": "w"})
    until(lambda: workers.status().ready == 2, within=30)
    before = set(workers.pids)
    perform(cluster, {"do": "restart", "component": "w"})
    until(lambda: workers.status().ready == 2 and not before & set(workers.pids), within=30)
    with cluster.client("foo") as client:
        assert client.eval("foo.f", 3) == 3
