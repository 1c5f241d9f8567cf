"""Components in processes of their own: what they log, and how they end."""

from __future__ import annotations

import re
import signal
import threading
import time

import pytest

from palm.clients import Client
from palm.protocol.dispatch import MAX_DEATHS
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from tests.support.cluster import ProcessCluster, ThreadCluster, until

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"

WORKER = """
class Mine(Worker):
    def double(self, value):
        self.logger.info('doubling %s', value)
        return 2 * value
"""


def messages(output: str, name: str) -> list[str]:
    """What was logged by a component; every line of the output must be its."""
    found = []
    for line in output.splitlines():
        match = re.fullmatch(rf"{TIME} - {name} - (INFO|WARNING) - (.*)", line)
        assert match, line
        found.append(match.group(2))
    return found


def test_what_components_log(processes: ProcessCluster) -> None:
    master = processes.master("foo", "pull_address='tcp://127.0.0.1:0'")
    worker = processes.worker(WORKER, "Mine('w', master='foo')")
    client = processes.run(
        """
        from palm.clients import Client
        client = Client("foo")
        print("result", client.eval("foo.double", 21))
        """
    )
    assert client.wait() == 0
    assert worker.stop() == 0
    assert master.stop() == 0
    listening, ready, *rest = split_at(messages(master.output, "foo"), "ready")
    assert len(listening) == 2
    assert re.fullmatch(r"Listening at tcp://127\.0\.0\.1:\d+", listening[0])
    assert listening[1].startswith("Listening at ipc://")
    assert ready == "ready"
    assert rest[0] == "worker w joined, serves double"
    push, pull, *rest = messages(worker.output, "w")
    assert re.fullmatch(r"Got worker push address: (tcp|ipc)://\S+", push)
    assert re.fullmatch(r"Got worker pull address: (tcp|ipc)://\S+", pull)
    assert rest == ["doubling 21"]
    fetching, mine, *rest = client.output.splitlines()
    assert re.fullmatch(rf"{TIME} - INFO - Fetching configuration from the server", fetching)
    assert re.fullmatch(rf"{TIME} - INFO - CLIENT [0-9a-f-]{{36}} .*", mine)
    assert rest[-1] == "result 42"


@pytest.mark.slow
def test_a_master_that_stands_still_again_and_again_costs_no_message_its_result(
    processes: ProcessCluster, cluster: ThreadCluster
) -> None:
    master = processes.master("foo")
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow(value: int) -> int:
        calls.append(value)
        begun.set()
        assert go_on.wait(120)
        return 2 * value

    worker = cluster.worker({"slow": slow}, "w").component
    link = worker._loop._driver._machine.link  # type: ignore[attr-defined]
    job = cluster.client().job("foo.slow", [21], errors="return")
    try:
        assert begun.wait(20)
        for _ in range(MAX_DEATHS + 2):
            before = link.id
            master.process.send_signal(signal.SIGSTOP)
            try:
                until(lambda: not link.up, within=30, what="the connection breaks")
            finally:
                master.process.send_signal(signal.SIGCONT)
            until(lambda b=before: link.up and link.id != b, within=30, what="the worker is back")
    finally:
        go_on.set()
    assert list(job) == [42]
    assert calls == [21], "it went on with what it ran"


def split_at(lines: list[str], text: str) -> tuple[list[str], str, *tuple[str, ...]]:
    at = lines.index(text)
    return lines[:at], text, *lines[at + 1 :]


def test_a_script_that_logs_itself_has_each_line_once(processes: ProcessCluster) -> None:
    script = processes.run(
        """
        import logging, sys, threading
        logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s", level="INFO")
        from palm.clients import Client
        from palm.servers import Master, Worker
        master = Master("foo")
        worker = Worker("w", master="foo", functions={"f": abs})
        threads = [threading.Thread(target=c.start) for c in (master, worker)]
        for thread in threads:
            thread.start()
        with Client("foo") as client:
            assert client.eval("foo.f", -1) == 1
        for component in (worker, master):
            component.stop()
        """
    )
    assert script.wait() == 0
    lines = script.output.splitlines()
    assert lines.count("foo: ready") == 1
    assert sum("Got worker pull address" in line for line in lines) == 1
    assert sum("Fetching configuration" in line for line in lines) == 1
    assert not any(" - INFO - " in line for line in lines)


def test_two_components_of_a_script_log_each_line_once(processes: ProcessCluster) -> None:
    script = processes.run(
        """
        import threading
        from palm.servers import Master
        masters = [Master("foo"), Master("bar"), Master("bar")]
        threads = [threading.Thread(target=m.start) for m in masters[:2]]
        for thread in threads:
            thread.start()
        for master in masters[:2]:
            while "ipc" not in master.endpoints:
                pass
            master.stop()
        """
    )
    assert script.wait() == 0
    assert script.output.count(" - foo - INFO - ready") <= 1
    assert script.output.count("Listening at") == 2


SLOW = """
import time
def slow(value):
    print("begun", value)
    time.sleep(value)
    return value
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("items", [[], [0.0, 0.4]], ids=["idle", "at work"])
def test_a_signal_ends_a_component_cleanly(
    processes: ProcessCluster, number: signal.Signals, items: list[float]
) -> None:
    master = processes.master()
    worker = processes.worker(SLOW, "Worker('w', master='foo', functions={'slow': slow})")
    with Client("foo") as client:
        job = client.job("foo.slow", items, ordered=True)
        for value in items[-1:]:
            worker.wait_for(f"begun {value}")
        worker.process.send_signal(number)
        assert worker.wait() == 0
        assert list(job) == items
    master.process.send_signal(number)
    assert master.wait() == 0
    assert "Traceback" not in master.output + worker.output
    assert live_records(Folders.find()) == []


def test_a_signal_that_another_thread_takes_is_seen_at_once(processes: ProcessCluster) -> None:
    """One that comes just before the poll has the same effect, and no test can time that."""
    master = processes.run(
        """
        import signal, threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        from palm.servers import Master
        Master("foo").start()
        """
    )
    master.wait_for("ready")
    master.process.send_signal(signal.SIGTERM)
    try:
        assert master.wait(1.5) == 0
    finally:
        master.process.kill()


def test_a_signal_while_it_looks_for_its_master_ends_a_worker(processes: ProcessCluster) -> None:
    worker = processes.run(
        """
        from palm.servers import Worker
        class Mine(Worker):
            def _serve(self):
                print("serves")
                super()._serve()
        Mine("w", master="foo", functions={"f": abs}).start()
        """
    )
    worker.wait_for("serves")
    assert worker.stop() == 0
    assert "Traceback" not in worker.output


def test_a_worker_in_a_function_that_never_ends_is_left_when_asked_twice(
    processes: ProcessCluster,
) -> None:
    processes.master()
    source = "import time\ndef hang(value):\n    print('begun')\n    time.sleep(60)\n"
    worker = processes.worker(source, "Worker('w', master='foo', functions={'hang': hang})")
    with Client("foo") as client:
        job = client.job("foo.hang", [1])
        worker.wait_for("begun")
        started = time.monotonic()
        while worker.process.poll() is None:  # whoever asks twice means it
            worker.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        took = time.monotonic() - started
        job.cancel()
        assert worker.wait() != 0
        assert "did not end in time" in worker.output
        assert took < 4


def test_a_second_master_names_the_first(processes: ProcessCluster) -> None:
    first = processes.master()
    second = processes.run("from palm.servers import Master\nMaster('foo').start()")
    assert second.wait() != 0
    last = second.output.rstrip().splitlines()[-1]
    assert f"{first.process.pid}" in last
    assert re.search(r"\d{4}-\d\d-\d\d", last), last


def test_a_light_start(processes: ProcessCluster) -> None:
    script = processes.run(
        """
        import sys
        import palm
        assert not [m for m in sys.modules if m.startswith(("palm.", "zmq", "msgspec"))
                    and m not in ("palm.errors", "palm._version")], sys.modules.keys()
        palm.Client, palm.Master, palm.Worker, palm.Job
        for name in ("pandas", "numpy", "asyncio", "tornado", "IPython", "multiprocessing"):
            assert name not in sys.modules, name
        """
    )
    assert script.wait() == 0, script.output
