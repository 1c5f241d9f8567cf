"""What workers of an engine are as nodes, and how many of their places are wanted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.spec.names import check_labels, check_name
from palm.spec.pool import EngineWorker, Want, labels_of, node_name, places_wanted

OFFER = {"engine": "dask", "pool": "dask"}
WORKERS = st.builds(
    EngineWorker,
    st.text(),
    st.text(),
    st.text(),
    st.integers(1, 512),
    st.integers(0, 1 << 50),
    st.dictionaries(st.text(max_size=90), st.floats(), max_size=80),
)


@given(st.lists(st.text(max_size=90), unique=True))
def test_each_worker_has_a_name_of_its_own_that_a_node_may_have(workers: list[str]) -> None:
    names = [check_name(node_name("dask", worker)) for worker in workers]
    assert len(set(names)) == len(workers)


def test_names_are_those_that_the_engine_shows() -> None:
    assert node_name("dask", "0") == "dask-0"
    assert node_name("gpu", "SLURMCluster-3") == "gpu-SLURMCluster-3"
    assert node_name("dask", "tcp://10.0.0.5:43211") == "dask-10-0-0-5-43211"


@given(WORKERS)
def test_labels_are_ones_that_a_node_may_have(worker: EngineWorker) -> None:
    labels = labels_of("dask", "pool", worker, {})
    check_labels(labels)
    assert labels["engine"] == "dask"
    assert labels["cores"] == str(worker.threads)


def test_labels_say_what_a_worker_has() -> None:
    worker = EngineWorker("tcp://a:1", "a", "a", 4, 17 << 30, {"GPU": 2.0, "big disk": 0.5})
    assert labels_of("dask", "dask", worker, {"zone": "eu"}) == OFFER | {
        "cores": "4", "memory": "17G", "GPU": "2", "big-disk": "0.5", "zone": "eu",
    }  # fmt: skip
    assert labels_of("dask", "p", EngineWorker("a", "a", "a", memory=600 << 20), {})["memory"] == (
        "600M"
    )


def test_what_waits_and_what_has_a_place_is_wanted() -> None:
    here = {"engine": "dask"}
    wants = [
        Want(5, here, nodes=["dask-0", "dask-1"]),  # three wait
        Want(3, here | {"cores": "1"}, nodes=["vm"]),  # nothing that there is here
        Want(3, {"engine": "dask"}, nodes=["vm", "dask-0"]),  # one found its node elsewhere
        Want(2),  # it asks for no label
        Want(2, {"engine": "slurm"}),  # nothing that there is here
        Want(2, node="vm"),
        Want(1, here, nodes=["gone", "gone"]),
    ]
    assert places_wanted(wants, {"dask-0", "dask-1"}, [OFFER]) == 5 + 2
    assert places_wanted(wants, set(), []) == 0


def test_a_label_that_only_some_workers_have_is_wanted_once_one_was_there() -> None:
    wants = [Want(2, {"GPU": "1"})]
    assert places_wanted(wants, set(), [OFFER]) == 0
    assert places_wanted(wants, set(), [OFFER, OFFER | {"GPU": "1"}]) == 2
