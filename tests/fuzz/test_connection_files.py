"""Records that lead nowhere: who finds one waits for a better one."""

from __future__ import annotations

import msgspec
import pytest

from palm.clients import Client
from palm.runtime.records import publish_record, read_record
from tests.support.cluster import ThreadCluster, until
from tests.support.fixtures import cluster

__all__ = ["cluster"]

LEADS_NOWHERE = [
    {"endpoints": {"ipc": "tcp://::::"}},
    {"endpoints": {"db": "not an address"}},
    {"endpoints": {"db": "tcp://127.0.0.1:1"}, "public_key": "short"},
    {"endpoints": {"db": "tcp://127.0.0.1:1"}, "public_key": "\u00e9" * 40},
    {"endpoints": {"ipc": "ipc:///" + "x" * 200}},
]


@pytest.mark.parametrize("changes", LEADS_NOWHERE, ids=range(5))
def test_client_outlives_a_record_that_leads_nowhere(
    cluster: ThreadCluster, changes: dict[str, object]
) -> None:
    cluster.master("foo")
    cluster.worker({"f": abs}, "w")
    record = read_record(cluster.folders, "foo")
    assert record is not None
    publish_record(cluster.folders, msgspec.structs.replace(record, **changes))
    client = Client("foo", logging_level=50)
    try:
        job = client.job("foo.f", [-1])
        until(lambda: not job.wait(0.3), what="it waits, or it is over")
        publish_record(cluster.folders, record)
        assert list(job) == [1]
    finally:
        client.close()
