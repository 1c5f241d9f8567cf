"""The registry under load: lines taken in while many follow, and found again in a gigabyte."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import Memory, cpu_seconds
from benchmarks.output.lines import LINE
from benchmarks.processes import BOUND, BrokenError, Place
from benchmarks.report import Goal, Report
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import OutputPiece

__all__ = ["output"]

REGISTRY = "palm registry"
REGISTRY_SOURCE = """
import runpy
runpy.run_module("palm_registry", run_name="__main__", alter_sys=True)
"""
WRITER = "from benchmarks.output.writer import main; main()"
FOLLOWERS = "from benchmarks.output.followers import main; main()"
#: A cluster with a component that prints, and who follows it; argv: lines.
PRINTED = """
import json, sys, time
import palm
from benchmarks.output.lines import Ledger
from palm.registry_api.schema import ComponentSpec

PRINTER = (
    "import time, sys; begun = time.time()\\n"
    "for at in range(int(sys.argv[1])): print('message of some words, as components write', at)\\n"
    "print('done', begun, flush=True); time.sleep(600)\\n"
)
lines = int(sys.argv[1])
cluster = palm.up()
registry, key = cluster.registry, cluster.name
command = [sys.executable, "-u", "-c", PRINTER, str(lines)]
with registry.live(key, ["status", "output"], gapless=True) as feed:
    feed.next_frame(30)
    registry.declare(key, ComponentSpec(name="printer", command=command, ready="delay:0"))
    ledger, last = Ledger(), b""
    while b"done" not in last:
        frame = feed.next_frame(60)
        for record in frame.data if frame.topic == "output" else ():
            if record.stream == "stdout":
                ledger.take(record.instance, record.stream, record.offset, len(record.raw))
                last = last[-100:] + record.raw
    begun = float(last.rpartition(b"done ")[2].split()[0])
print(json.dumps({"seconds": time.time() - begun}), flush=True)
cluster.down()
"""
CLUSTER = "bench"
FAST, SLOW = 15, 5
#: Seconds for anything here.
LIMIT = 300.0


class Running:
    """A registry in a place of its own; ``arguments`` are those of ``palm registry``."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self._place = place
        self._arguments = arguments
        place.environment["PYTHONPATH"] = ":".join(sys.path)
        self._file = place.folder / "run" / "registry.json"
        self.process = self.start()
        found = json.loads(self._file.read_text())
        self.url, self.token_file = found["url"], found["token_file"]
        self.client = RegistryClient(self.url, Path(self.token_file).read_text().strip())
        self.client.create_cluster(CLUSTER)

    def start(self) -> subprocess.Popen[str]:
        """Start its process, and wait until it listens."""
        self.process = self._place.spawn(REGISTRY_SOURCE, *self._arguments)
        self._place.await_(self._listens, "the registry")
        return self.process

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise BrokenError(f"the registry has ended\n{self._place.complaints()}")
        # One that was killed has left its file there.
        found = json.loads(self._file.read_text()) if self._file.exists() else {}
        return found.get("pid") == self.process.pid

    def writer(self, lines: int, name: str = "writer", rate: float = 0.0) -> Any:
        """Start a process that writes so many lines, at most so many a second."""
        return self._place.spawn(
            WRITER, self.url, self.token_file, CLUSTER, str(lines), name, str(rate), talk=True
        )

    def followers(self, fast: int, slow: int, wanted: int) -> Any:
        """Start a process with followers, and wait until they follow."""
        args = (self.url, self.token_file, CLUSTER, str(fast), str(slow), str(wanted))
        process = self._place.spawn(FOLLOWERS, *args, talk=True)
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise BrokenError(f"nobody follows\n{self._place.complaints()}")
        return process

    def result_of(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for the figures of a process."""
        out, _ = process.communicate(timeout=LIMIT)
        if process.returncode:
            raise BrokenError(f"output was not as it should be\n{self._place.complaints()}")
        return dict(json.loads(out.splitlines()[-1]))


class Ticker:
    """Another component that writes a line now and then, and who follows it, until `stop`.

    ``delays`` are the seconds from the writing of each line until it was read.
    """

    def __init__(self, client: RegistryClient) -> None:
        self.delays: list[float] = []
        self._client = client
        self._over = threading.Event()
        self._feed = client.live(CLUSTER, ["status", "output"], components=["tick"])
        self._feed.next_frame(BOUND)  # from here on it follows
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        at = 0
        while not self._over.wait(0.1):
            began = time.perf_counter()
            piece = OutputPiece(
                instance="tick.1", stream="stdout", offset=at, data=b"tick\n", component="tick"
            )
            at = self._client.send_output(CLUSTER, [piece])[0].durable_offset
            while (frame := self._feed.next_frame(BOUND)) is not None and frame.topic != "output":
                pass
            self.delays.append(time.perf_counter() - began)

    def stop(self) -> None:
        """Take the figures."""
        self._over.set()
        self._thread.join(BOUND)
        self._feed.close()


def output(report: Report) -> None:
    """lines that a registry takes in while 20 follow, five of them slow; seeking and searching"""
    _taken_in(report)
    _printed(report)
    _found_again(report)


def _taken_in(report: Report) -> None:
    lines = 800_000 if report.quick else 2_400_000
    rates: dict[str, list[float]] = {}
    behind: dict[str, list[float]] = {"the fast, after the last line": [], "the slow": []}
    growth: list[float] = []
    delays: list[float] = []
    cpu: list[float] = []
    for _ in range(1 if report.quick else 3):
        with Place() as place:
            running = Running(place)
            memory, before = Memory(running.process.pid), cpu_seconds(running.process.pid)
            followers = running.followers(FAST, SLOW, lines * LINE)
            ticker = Ticker(running.client)
            began = time.perf_counter()
            written = running.result_of(running.writer(lines))
            memory.look()
            taken = time.perf_counter() - began
            ticker.stop()
            delays.append(max(ticker.delays, default=taken))
            cpu.append((cpu_seconds(running.process.pid) - before) / taken)
            read = running.result_of(followers)
            memory.look()
            rates.setdefault(REGISTRY, []).append(written["lines"] / written["seconds"])
            behind["the fast, after the last line"].append(max(0.0, max(read["fast"]) - taken))
            behind["the slow"].append(max(0.0, max(read["slow"]) - taken))
            growth.append(memory.growth)
    goals = {REGISTRY: Goal(300_000, at_least=True)}
    note = f"64 bytes a line, {FAST + SLOW} gapless followers, {SLOW} slow"
    report.add("lines taken in", "/s", rates, goals, note=note)
    report.add("of it: all have read all", "s", behind)
    name = "a line of another component, slowest"
    report.add("of it: a flood holds up nobody else", "s", {name: delays}, {name: Goal(2.0)})
    report.add("of it: the registry's growth", "MiB", {REGISTRY: growth})
    report.add("of it: the registry's processor", "cores", {REGISTRY: cpu})


def _printed(report: Report) -> None:
    lines = 200_000 if report.quick else 1_000_000
    rates: list[float] = []
    for _ in range(1 if report.quick else 3):
        with Place() as place:
            process = place.spawn(PRINTED, str(lines), talk=True)
            out, _ = process.communicate(timeout=LIMIT)
            if process.returncode:
                raise BrokenError(f"nobody saw what was printed\n{place.complaints()}")
            rates.append(lines / json.loads(out.splitlines()[-1])["seconds"])
    name = "print(), runner, registry"
    goals = {name: Goal(100_000, at_least=True)}
    report.add("lines from a print to a follower", "/s", {name: rates}, goals)


def _found_again(report: Report) -> None:
    size = 128 * 1024**2 if report.quick else 1024**3
    with Place() as place:
        running = Running(place)
        began = time.time()
        running.result_of(running.writer(size // LINE))
        ended = time.time()
        stored = running.client.output(CLUSTER, lines=1).cursor
        seeks = [_seconds(lambda: _seek(running, began, ended)) for _ in range(50)]
        pages = [_seconds(lambda: _page(running, stored)) for _ in range(50)]
        report.add(
            "seeking in a gigabyte, slowest of 50", "s",
            {"by time": [max(seeks)], "by cursor": [max(pages)]},
            {"by time": Goal(0.25), "by cursor": Goal(0.25)},
        )  # fmt: skip
        searches = {
            "a text": {"grep": "nobody wrote this"},
            "an expression": {"regex": r"message \d+ took \d+ ms$"},
            "one without a literal": {"regex": r"\d+[x-z]"},
            "either case": {"regex": "(?i)error|warning"},
        }
        rounds = 1 if report.quick else 3
        runs = {
            name: [_seconds(lambda q=query: _search(running, q)) for _ in range(rounds)]
            for name, query in searches.items()
        }
        goals = {name: Goal(3.0) for name in searches}
        report.add("searching a gigabyte for what is not there", "s", runs, goals)


def _seek(running: Running, began: float, ended: float) -> None:
    page = running.client.output(CLUSTER, since=random.uniform(began, ended), limit=1)
    if not page.records:
        raise BrokenError("nothing was found at a time")


def _page(running: Running, stored: str) -> None:
    last = int(stored.partition(".o")[2].partition(".")[0])
    at = stored.replace(f".o{last}.", f".o{random.randrange(last)}.")
    if not running.client.output(CLUSTER, cursor=at, limit=1).records:
        raise BrokenError("nothing was found at a cursor")


def _search(running: Running, query: dict[str, str]) -> None:
    page = running.client.output(CLUSTER, lines=10, **query)  # type: ignore[arg-type]
    if page.records or page.more:
        raise BrokenError(f"{query}: not searched to the end, or wrongly")


def _seconds(what: Any) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began
