"""Executors beside themselves: used directly, and by a worker of palm, with the same chunks.

They are also called with the chunks that suit them best, so that nobody takes those of palm for it.
"""

from __future__ import annotations

from benchmarks.processes import BrokenError, Caller, Place
from benchmarks.report import Goal, Report
from benchmarks.rounds import asking, interleaved
from palm.runtime.folders import Folders
from palm.runtime.records import read_record

__all__ = ["executors"]

CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
MASTER = 'from palm.servers import Master; Master("foo").start()'
WORKER = """
import sys
from concurrent.futures import ProcessPoolExecutor
from benchmarks.work import FUNCTIONS
from palm.engines.dask import executor_of
from palm.servers import Worker
if __name__ == "__main__":
    if sys.argv[1] == "pool":
        executor = lambda: ProcessPoolExecutor(2)
    else:
        executor = executor_of(sys.argv[1])
    Worker("w", master="foo", functions=FUNCTIONS, executor=executor).start()
"""

#: What is run by which engine: messages, some seconds of work, so that the beginning and the end of
#: a job count for little; and those of a quick measurement.
WORK = {
    ("nap", "pool"): (8_000, 1_000),
    ("nap", "Dask"): (8_000, 1_000),
    ("stamp", "pool"): (1_000_000, 20_000),
    ("stamp", "Dask"): (100_000, 20_000),
}

#: In how many chunks an engine is given all there is, to find out what suits it best.
CHUNKS = (2, 8, 32)
NAMES = {"nap": "1 ms sleeps", "stamp": "16-byte messages"}


def executors(report: Report) -> None:
    """a pool and a Dask cluster by themselves and behind a worker, with the same chunks"""
    with Place() as of_pool, Place() as of_dask, Place() as others:
        address = _dask(others)
        systems = {
            "pool": (_palm(of_pool, "pool"), Caller(others, "executor", "2", "1")),
            "Dask": (_palm(of_dask, address), Caller(others, "dask", address)),
        }
        for (function, name), (n, few) in WORK.items():
            palm, direct = systems[name]
            _compare(report, name, function, few if report.quick else n, palm, direct)


def _compare(
    report: Report, name: str, function: str, n: int, palm: Caller, direct: Caller
) -> None:
    palm.ask("rate", function=function, n=n)  # the master learns how long it takes
    size = palm.ask("chunk", function=function, n=n)["size"]
    best = _best_chunk(direct, function, n)
    behind, itself = f"palm on {name}", f"{name}, chunks of {size}"
    runs = interleaved(
        3,
        {
            behind: asking(palm, "rate", "rate", function=function, n=n),
            itself: asking(direct, "rate", "rate", function=function, n=n, chunksize=size),
            f"{name} at its best, {best}": asking(
                direct, "rate", "rate", function=function, n=n, chunksize=best
            ),
        },
    )
    goal = Goal(1.0, at_least=True, base=itself)
    report.add(f"{NAMES[function]}, {name}", "/s", runs, {behind: goal})


def _best_chunk(direct: Caller, function: str, n: int) -> int:
    """Return the size of chunks with which an engine is quickest, of some that differ by far."""
    rates = {
        size: direct.ask("rate", function=function, n=n, chunksize=size)["rate"]
        for size in sorted({max(1, n // parts) for parts in CHUNKS})
    }
    return max(rates, key=lambda size: rates[size])


def _dask(place: Place) -> str:
    process = place.spawn(CLUSTER, talk=True)
    address = process.stdout.readline().strip() if process.stdout is not None else ""
    if not address:
        raise BrokenError(f"no scheduler of Dask\n{place.complaints()}")
    return address


def _palm(place: Place, executor: str) -> Caller:
    place.spawn(MASTER)
    place.spawn(WORKER, executor)
    folders = Folders.find(place.environment)
    place.await_(lambda: read_record(folders, "w") is not None, "a worker with an executor")
    return Caller(place, "palm", "")
