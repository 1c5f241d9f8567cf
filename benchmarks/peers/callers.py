"""How the peers are called, as their documentation says; for `benchmarks.caller`.

``fast`` is the way that each offers for many small calls. Without it each message is a task of
its own, and results are taken as they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import work

__all__ = ["Dask", "Ipyparallel", "Ray"]

#: Messages in one task of the fast ways.
CHUNK = 1000

#: Seconds for the parts of a system to find one another.
PATIENCE = 30

#: Bytes of the store that Ray keeps large objects in; else it takes a third of the memory.
OBJECT_STORE = 1 << 30

#: Seconds in which what is done is collected, instead of asking for each task.
COLLECTED = 0.005


class Dask:
    """A client of a scheduler; the fast way is a bag."""

    def __init__(self, address: str) -> None:
        from distributed import Client

        self._client = Client(address, timeout=PATIENCE)

    def stream(
        self, function: str, payloads: list[bytes], fast: bool = False, chunksize: int = 0
    ) -> Iterator[bytes]:
        if chunksize:
            yield from self._in_chunks(function, payloads, chunksize)
            return
        if fast:
            import dask.bag

            bag = dask.bag.from_sequence(payloads, partition_size=CHUNK)
            yield from bag.map(work.FUNCTIONS[function]).compute()
            return
        from distributed import as_completed

        futures = self._client.map(work.FUNCTIONS[function], payloads, pure=False)
        for _, result in as_completed(futures, with_results=True):
            yield result

    def _in_chunks(self, function: str, payloads: list[bytes], size: int) -> Iterator[bytes]:
        from distributed import as_completed

        chunks = [payloads[at : at + size] for at in range(0, len(payloads), size)]
        futures = self._client.map(work.each, [function] * len(chunks), chunks, pure=False)
        for _, results in as_completed(futures, with_results=True):
            yield from results

    def call(self, function: str, payload: bytes) -> bytes:
        future = self._client.submit(work.FUNCTIONS[function], payload, pure=False)
        result: bytes = future.result()
        return result

    def close(self) -> None:
        self._client.close(timeout=2)


class Ipyparallel:
    """A load-balanced view of a controller's engines; the fast way gives each engine its part."""

    def __init__(self, connection_file: str) -> None:
        import ipyparallel

        self._client = ipyparallel.Client(connection_file, timeout=PATIENCE)
        self._client.wait_for_engines(1, timeout=PATIENCE, interactive=False)
        self._view = self._client.load_balanced_view()

    def stream(self, function: str, payloads: list[bytes], fast: bool = False) -> Iterator[bytes]:
        call = work.FUNCTIONS[function]
        if fast:
            yield from self._client[:].map_async(call, payloads)
        else:
            yield from self._view.map_async(call, payloads, chunksize=1, ordered=False)

    def call(self, function: str, payload: bytes) -> bytes:
        result: bytes = self._view.apply_sync(work.FUNCTIONS[function], payload)
        return result

    def close(self) -> None:
        self._client.close()


class Ray:
    """A Ray of its own on this machine, with tasks; the fast way is its pool's ``imap``."""

    def __init__(self, folder: str, workers: str) -> None:
        import ray

        self._ray = ray
        self._workers = int(workers)
        ray.init(
            address="local",
            num_cpus=self._workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=OBJECT_STORE,
            _temp_dir=folder,
        )
        self._tasks = {name: ray.remote(each) for name, each in work.FUNCTIONS.items()}
        self._pool: Any = None

    def stream(self, function: str, payloads: list[bytes], fast: bool = False) -> Iterator[bytes]:
        if fast:
            yield from self._pooled().imap(work.FUNCTIONS[function], payloads, chunksize=CHUNK)
            return
        waiting = [self._tasks[function].remote(payload) for payload in payloads]
        while waiting:
            done, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=COLLECTED)
            yield from self._ray.get(done)

    def call(self, function: str, payload: bytes) -> bytes:
        result: bytes = self._ray.get(self._tasks[function].remote(payload))
        return result

    def close(self) -> None:
        self._ray.shutdown()

    def _pooled(self) -> Any:
        if self._pool is None:
            from ray.util.multiprocessing import Pool

            self._pool = Pool(self._workers)
        return self._pool
