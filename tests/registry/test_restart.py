"""A registry that starts anew in place: nobody is refused, and nothing is lost."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.errors import RegistryError
from palm.registry_api.client import Refused, RegistryClient
from tests.support.registry import RegistryProcess, RegistryThread, Runner, piece, spec

pytestmark = pytest.mark.slow


def anew(process: RegistryProcess, client: RegistryClient) -> None:
    """Let the registry start anew, and wait until it has."""
    before = process.record["run"]
    client.restart_registry()
    wait_for_another(process, before)


def wait_for_another(process: RegistryProcess, before: str) -> None:
    end = time.monotonic() + 30
    while process.record["run"] == before:
        assert time.monotonic() < end
        time.sleep(0.01)


def restarts_of(client: RegistryClient) -> int:
    found, cursor = 0, "start"
    while True:
        events, cursor = client.events("c", cursor)
        if not events:
            return found
        found += sum(event.kind == "component.restarting" for event in events)


class Load:
    """Threads that ask one thing after another, and count what went wrong."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.done = 0
        self.longest = 0.0  # seconds that one has waited
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, ask: object) -> None:
        def run() -> None:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    ask()  # type: ignore[operator]
                    self.done += 1
                    self.longest = max(self.longest, time.monotonic() - began)
                except BaseException as error:  # noqa: BLE001 - the test looks at it
                    self.failures.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def load() -> Iterator[Load]:
    load = Load()
    yield load
    load.stop()


def test_requests_are_answered_all_along_and_none_is_lost_or_done_twice(
    process: RegistryProcess, load: Load
) -> None:
    process.start()
    pid, url = process.record["pid"], process.record["url"]
    # Nothing is tried again: what is refused or lost shows.
    with process.client(retry=0.0) as client:
        client.create_cluster("c")
        client.declare("c", spec("a"))
        offsets = [0, 0]

        def write(stream: int) -> None:
            new = piece(offsets[stream], b"x" * 100, f"i.{stream}")
            offsets[stream] = client.send_output("c", [new])[0].durable_offset

        asked = [0]

        def restart_component() -> None:  # a request that the client never repeats by itself
            client.restart("c", "a")
            asked[0] += 1

        def connect() -> None:
            with process.client(retry=0.0) as another:
                another.cluster_list()

        load.add(lambda: write(0))
        load.add(lambda: write(1))
        load.add(restart_component)
        load.add(connect)
        load.add(lambda: client.view_cluster("c"))
        for _ in range(3):
            before = load.done
            anew(process, client)
            end = time.monotonic() + 30
            while load.done < before + 100:
                assert time.monotonic() < end, (load.done, before, load.failures)
                time.sleep(0.01)
        load.stop()
        assert load.failures == []
        assert (process.record["pid"], process.record["url"]) == (pid, url)
        for stream, offset in enumerate(offsets):
            ack = client.send_output("c", [piece(2**40, b"x", f"i.{stream}")])[0]
            assert ack.durable_offset == offset
        assert restarts_of(client) == asked[0]
        print(f"{load.done} requests over 3 new starts, the longest {load.longest:.2f} s")
        assert load.longest < 15.0


def test_a_request_that_is_under_way_is_answered_by_the_one_that_took_it(
    process: RegistryProcess,
) -> None:
    """Half a body has come when it is told to start anew; the rest comes a moment later."""
    process.start()
    with process.client() as client:
        token = Path(process.record["token_file"]).read_text().strip()
        body = b'{"name": "late"}'
        head = (
            f"POST /api/clusters HTTP/1.1\r\nHost: 127.0.0.1:{process.port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", process.port), 10) as late:
            late.sendall(head.encode() + body[:5])
            before = process.record["run"]
            client.restart_registry()
            # A connection that comes while the registry waits for that body waits, too.
            with process.client(retry=0.0) as another:
                waiting = threading.Thread(target=another.cluster_list)
                waiting.start()
                late.sendall(body[5:])
                assert late.recv(65536).startswith(b"HTTP/1.1 201")
                waiting.join(20)
                assert not waiting.is_alive()
            wait_for_another(process, before)
        assert [c.key for c in client.cluster_list()] == ["late"]


def test_a_live_feed_goes_on_without_a_gap(process: RegistryProcess) -> None:
    process.start()
    with process.client() as client:
        client.create_cluster("c")
        with client.live("c", ("output",), since="start") as feed:
            wanted, got, sent = b"", b"", 0
            for round_ in range(4):
                data = b"%d\n" % round_ * 1000
                client.send_output("c", [piece(sent, data)])
                sent, wanted = sent + len(data), wanted + data
                if round_ < 3:
                    anew(process, client)
            while len(got) < len(wanted):
                frame = feed.next_frame(20)
                assert frame is not None
                assert frame.topic == "output"
                got += b"".join(record.raw for record in frame.data)
            assert got == wanted


def test_a_runner_that_waits_is_answered_and_goes_on(process: RegistryProcess) -> None:
    process.start()
    with process.client(retry=0.0) as client:
        client.create_cluster("c")
        client.declare("c", spec("a"))
        runner = Runner(client, "c").join()
        runner.run_all()
        answers: list[object] = []
        waiting = threading.Thread(target=lambda: answers.append(runner.beat(wait=20.0)))
        waiting.start()
        anew(process, client)
        waiting.join(15)
        assert len(answers) == 1
        assert runner.beat().components  # still the same node, and of the same session
        assert client.cluster_status("c").ready


def test_a_hangup_does_the_same_and_a_termination_ends_it_also_meanwhile(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.start()
    before = process.record["run"]
    os.kill(process.record["pid"], signal.SIGHUP)
    wait_for_another(process, before)
    with process.client() as client:
        assert client.info().run == process.record["run"]
        os.kill(process.record["pid"], signal.SIGHUP)
        assert process.stop() == 0
    assert not (palm_home / "run" / "registry.json").exists()


def test_new_code_is_taken_up_and_code_that_cannot_start_is_not(
    palm_home: Path, process: RegistryProcess
) -> None:
    """A module in front of ours stands for a newer palm."""
    newer = palm_home / "newer"
    newer.mkdir()
    process.environment["PYTHONPATH"] = os.pathsep.join([str(newer), process.pythonpath])
    process.start()
    with process.client() as client:
        code = newer / "sitecustomize.py"
        code.write_text("raise SystemExit('this palm is broken')\n")
        before = process.record["run"]
        with pytest.raises(Refused, match="this palm is broken") as refused:
            client.restart_registry()
        assert refused.value.status == 409
        assert client.info().run == before
        code.write_text("import palm._version\npalm._version.__version__ = '99.0'\n")
        anew(process, client)
        assert client.health().version == "99.0"


def test_one_that_runs_within_another_program_says_that_it_cannot(
    registry: RegistryThread,
) -> None:
    with registry.client() as client, pytest.raises(RegistryError, match="by itself"):
        client.restart_registry()


def test_connections_are_not_left_behind_by_many_new_starts(process: RegistryProcess) -> None:
    process.start()
    folder = Path(f"/proc/{process.record['pid']}/fd")
    counts = []
    with process.client() as client:
        for _ in range(4):
            anew(process, client)
            client.cluster_list()
            counts.append(len(list(folder.iterdir())))
    assert max(counts) - min(counts) <= 3, counts
