"""Use a registry for a long time as many do at once, and see that it stays as it was.

In the first third it is killed with -9 or stopped, and started again, every few seconds; then it
goes on in one life, of which memory, descriptors, threads and the size of the database are
watched. Exit code 1 if a byte was lost, doubled or changed, a call failed that should not have,
or something grew beyond its bound.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from palm.errors import RegistryError
from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from tests.soak.churn import CLUSTER, Shared, actors, content
from tests.soak.samples import Bound, Growth, Sampler, growths
from tests.support.registry import RegistryProcess

#: Bytes that the registry keeps.
RETAINED = 32 * 1024 * 1024
#: What each may grow by in the time that is watched, and be at most. The database has, beside what
#: is kept, a journal, and what was written since the last look.
BOUNDS = {
    "memory, MiB": Bound(24, 320),
    "descriptors": Bound(12, 200),
    "threads": Bound(2, 40),
    "database, MiB": Bound(24, 128),
}
#: Share of the time with restarts, seconds between two of them, and share of the samples after
#: which everything has been used once.
RESTARTING, LIFE, WARM = 1 / 3, 6.0, 0.3


def main(argv: list[str] | None = None) -> int:
    """Run, and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    args = parser.parse_args(argv)
    print(f"{args.seconds:g} s, seed {args.seed}", flush=True)
    home = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    found, shared = run(home, args.seconds, args.seed)
    for name, count in sorted(shared.done.items()):
        print(f"{name:<28} {count:,}")
    for growth in found:
        print(growth)
    for complaint in shared.complaints[:20]:
        print(complaint)
    failed = bool(shared.complaints) or not all(growth.holds for growth in found)
    if not failed:
        shutil.rmtree(home, ignore_errors=True)
    print("failed" if failed else "all as it should be")
    return int(failed)


def run(home: Path, seconds: float, seed: int) -> tuple[list[Growth], Shared]:
    """Use a registry for so long; return what grew, and what else was wrong."""
    process = RegistryProcess(home, "--retain-size", str(RETAINED))
    process.start()

    def connect() -> RegistryClient:
        # Its address stays: the port is given again at each start.
        return process.client(retry=30.0)

    shared = Shared(connect)
    with connect() as client:
        client.create_cluster(CLUSTER)
    users = actors(shared, seed)
    try:
        for user in users:
            user.start()
        _restart(process, shared, seconds * RESTARTING, random.Random(seed))
        assert process.process is not None
        sampler = Sampler(process.process.pid, home / "state" / "registry.db")
        shared.stop.wait(seconds * (1 - RESTARTING))
        sampler.stop()
    finally:
        shared.stop.set()
        ended = [user.join(60.0) for user in users]
    if not all(ended):
        shared.complain(f"{ended.count(False)} users hang")
    _check_stored(shared, connect())
    if (code := process.stop()) != 0:
        shared.complain(f"the registry ended with {code}")
    return growths(sampler.samples, BOUNDS, WARM), shared


def _restart(
    process: RegistryProcess, shared: Shared, seconds: float, chance: random.Random
) -> None:
    end = time.monotonic() + seconds
    life = min(LIFE, seconds / 4)
    # One after the other, so that also a short run has both.
    kill = chance.random() < 0.5
    while time.monotonic() < end:
        shared.stop.wait(chance.uniform(0.3, 1.7) * life)
        if kill:
            process.kill()
            shared.count("kill -9 of the registry")
        else:
            if (code := process.stop()) != 0:
                shared.complain(f"the registry ended with {code}")
            shared.count("restarts of the registry")
        kill = not kill
        shared.stop.wait(chance.uniform(0.0, 1.0))
        process.start()


def _check_stored(shared: Shared, client: RegistryClient) -> None:
    """See that what was acknowledged counts, and that what is left of it is what was written."""
    with client:
        for instance, (component, acked) in shared.acked.items():
            piece = schema.OutputPiece(
                instance=instance, stream="stdout", offset=0, data=b"", component=component
            )
            (ack,) = client.send_output(CLUSTER, [piece])
            if ack.durable_offset < acked:
                shared.complain(f"{instance}: {acked} were stored, now {ack.durable_offset}")
        try:
            _check_left(shared, client)
        except RegistryError as error:
            shared.complain(f"what is stored cannot be read: {error}")


def _check_left(shared: Shared, client: RegistryClient) -> None:
    ends: dict[str, int] = {}
    cursor = "start"
    while True:
        page = client.output(CLUSTER, cursor=cursor)
        for record in page.records:
            if ends.setdefault(record.instance, record.offset) != record.offset:
                shared.complain(f"{record.instance}: a gap before {record.offset}")
            if record.raw != content(record.instance, record.offset, record.end):
                shared.complain(f"{record.instance}: other bytes at {record.offset}")
            ends[record.instance] = record.end
        cursor = page.cursor
        if not page.more:
            break
    for instance, end in ends.items():
        if end < shared.acked.get(instance, ("", 0))[1]:
            shared.complain(f"{instance}: its newest output is gone, at {end}")


if __name__ == "__main__":
    sys.exit(main())
