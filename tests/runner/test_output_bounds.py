"""Output through a real runner and a real registry: never lost, within bounds. F15, F26 to F30."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from palm.registry_api.schema import ComponentSpec, OutputRecord
from palm.runner.spool import Spool
from palm.runtime.folders import Folders
from palm.spec.process import OVER
from tests.runner.conftest import PROLOGUE
from tests.support.nodes import ROOT, House, component, eventually
from tests.support.proxy import Proxy
from tests.support.smalldisk import fill, tight_disk

__all__ = ["tight_disk"]

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
LONG = 100.0

#: Writes numbered lines, once it may, until it has written enough or is told to stop, and notes
#: what it wrote.
WRITER = (
    PROLOGUE
    + """
import hashlib
digest, size, number = hashlib.sha256(), 0, 0
notify_ready()
while not os.path.exists(MAY_WRITE) and not stop.wait(0.005):
    pass
while size < LIMIT and not stop.wait(PAUSE):
    lines = b"".join(b"%s %09d %s\\n" % (NAME, number + i, b"x" * 80) for i in range(LINES))
    number += LINES
    size += len(lines)
    digest.update(lines)
    left = memoryview(lines)
    while left:
        left = left[os.write(1, left):]
with open(NOTE + ".part", "w") as file:
    file.write(f"{size} {digest.hexdigest()}")
os.rename(NOTE + ".part", NOTE)
"""
)


def writer(
    house: House,
    name: str,
    size: int,
    *,
    lines: int = 500,
    pause: float = 0.0,
    held: bool = False,
    **spec: object,
) -> ComponentSpec:
    """A component that writes so many bytes: `held`, none before `let_write`."""
    values = {"NAME": name.encode(), "LIMIT": size, "LINES": lines, "PAUSE": pause,
              "NOTE": str(note(house, name)), "MAY_WRITE": str(permit(house, name))}  # fmt: skip
    if not held:
        let_write(house, name)
    source = "".join(f"{key} = {value!r}\n" for key, value in values.items()) + WRITER
    return component(name, source, restart="never", ready="delay:0", **spec)


def permit(house: House, name: str) -> Path:
    return house.runner.home / f"{name}.permit"


def let_write(house: House, name: str) -> None:
    permit(house, name).touch()


def note(house: House, name: str) -> Path:
    return house.runner.home / f"{name}.note"


def noted(house: House, name: str) -> tuple[int, str]:
    """What a writer says that it wrote: size and SHA-256."""
    assert eventually(note(house, name).exists, LONG)
    size, digest = note(house, name).read_text().split()
    return int(size), digest


class Stream:
    """What the registry has of a stream, page after page; each byte once, at its offset."""

    def __init__(self, house: House, name: str, stream: str = "stdout") -> None:
        self._house, self._name, self._stream = house, name, stream
        self._cursor = ""
        self._digest = hashlib.sha256()
        self.size = 0
        self.gaps: list[OutputRecord] = []
        self.kept: list[tuple[int, bytes]] = []

    def read(self) -> int:
        """Read what is new; return how long the stream is by now."""
        more = True
        while more:
            page = self._house.client.output(
                "default", name=self._name, stream=self._stream, cursor=self._cursor
            )
            for record in page.records:
                assert record.offset == self.size, "lost, doubled or out of order"
                self.size = record.end
                self._digest.update(record.raw)
                if record.lost:
                    self.gaps.append(record)
            self._cursor, more = page.cursor, page.more
        return self.size

    def is_whole(self, size: int, digest: str) -> bool:
        """Whether it is, soon, just what was written."""
        assert eventually(lambda: self.read() >= size, LONG)
        return (self.size, self._digest.hexdigest()) == (size, digest)


def spool_of(house: House, name: str) -> Spool:
    return Spool(Folders.find().spool / house.replicas(name)[0].instance)


def pid_of(house: House, name: str) -> int:
    assert eventually(lambda: any(replica.pid for replica in house.replicas(name)))
    pid = house.replicas(name)[0].pid
    assert pid is not None
    return pid


def is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def freeze(house: House) -> None:
    """Have the registry be there, and answer nothing."""
    assert house.registry.process is not None
    house.registry.process.send_signal(signal.SIGSTOP)


def thaw(house: House) -> None:
    assert house.registry.process is not None
    house.registry.process.send_signal(signal.SIGCONT)


@pytest.fixture
def frozen(house: House) -> Iterator[House]:
    """A house whose registry may be frozen: it is not left so."""
    yield house
    thaw(house)


def end(house: House) -> None:
    """End all but the registry, while what is between it and the runner is there."""
    house.client.end_cluster("default")
    assert house.runner.wait() == 0
    house.runner.process = None


def peak(pid: int) -> int:
    """The most memory that a process had, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


# ---- the quota, while the registry is away


def test_component_waits_for_the_registry_and_loses_nothing(frozen: House) -> None:
    """F26, F30 with "block"."""
    house = frozen
    house.runner.start()
    house.client.declare("default", writer(house, "foo", 28 * MIB, held=True, spool_quota=4 * MIB))
    pid = pid_of(house, "foo")
    spool = spool_of(house, "foo")
    freeze(house)
    let_write(house, "foo")
    assert eventually(lambda: is_stopped(pid))
    size = spool.size("stdout")
    assert size > 4 * MIB
    assert not eventually(lambda: spool.size("stdout") != size, timeout=0.5)
    thaw(house)
    reasons: set[str] = set()

    def is_over() -> bool:
        replica = house.replicas("foo")[0]
        reasons.add(replica.reason)
        return replica.state == "stopped"

    assert eventually(is_over, LONG)
    assert any(each.endswith("MiB of its output wait for the registry") for each in reasons)
    assert Stream(house, "foo").is_whole(*noted(house, "foo"))
    assert house.replicas("foo")[0].restarts == 0


def test_what_is_dropped_is_told_wherever_output_is_read(frozen: House) -> None:
    """F30 with "drop-oldest"."""
    house = frozen
    house.runner.start()
    spec = writer(
        house, "foo", 24 * MIB, held=True, pause=0.01, spool="drop-oldest", spool_quota=4 * MIB
    )
    house.client.declare("default", spec)
    pid_of(house, "foo")
    spool = spool_of(house, "foo")
    freeze(house)
    let_write(house, "foo")
    size, _ = noted(house, "foo")  # it never waits
    assert spool.path("stdout").stat().st_blocks * 512 < 8 * MIB
    thaw(house)
    stream = Stream(house, "foo")
    assert eventually(lambda: stream.read() >= size, LONG)
    assert stream.size == size
    assert {gap.reason for gap in stream.gaps} == {"quota"}
    lost = sum(gap.lost for gap in stream.gaps)
    assert 16 * MIB < lost < 21 * MIB
    last = stream.gaps[-1]
    after = house.client.output("default", name="foo", stream="stdout", cursor=last.cursor)
    assert after.records[0].offset == last.end
    assert after.records[0].raw == spool_bytes(spool, last.end, len(after.records[0].raw))
    told = subprocess.run(
        [sys.executable, "-m", "palm", "logs", "foo", "-n", "100000"],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": ROOT},
    ).stdout  # fmt: skip
    assert f"[palm: {last.lost / 1e6:.1f} MB of output were dropped here" in told


def spool_bytes(spool: Spool, offset: int, size: int) -> bytes:
    """What the spool has there: the numbers of the lines say what else it would be."""
    data = spool.read("stdout", offset, size)
    if data:
        return data
    line = b"foo %09d " + b"x" * 80 + b"\n"
    length = len(line % 0)
    first, last = offset // length, (offset + size) // length
    text = b"".join(line % number for number in range(first, last + 1))
    return text[offset - first * length :][:size]


def test_suspended_component_goes_on_though_its_runner_was_killed(frozen: House) -> None:
    """F15, F30: nobody stays suspended for ever."""
    house = frozen
    house.runner.start()
    # Not so quick that it is done before a runner that has to wait for a processor sees it.
    spec = writer(house, "foo", 12 * MIB, held=True, pause=0.005, spool_quota=4 * MIB)
    house.client.declare("default", spec)
    pid = pid_of(house, "foo")
    freeze(house)
    let_write(house, "foo")
    assert eventually(lambda: is_stopped(pid))
    house.runner.kill()
    thaw(house)
    assert is_stopped(pid)
    house.runner.start()
    assert Stream(house, "foo").is_whole(*noted(house, "foo"))
    assert eventually(lambda: house.replicas("foo")[0].state in OVER)


def test_suspended_component_goes_on_when_its_runner_ends(frozen: House) -> None:
    house = frozen
    house.runner.start()
    spec = writer(
        house, "foo", 100 * MIB, held=True, lines=50, pause=0.002, spool_quota=2 * MIB, grace=60.0
    )
    house.client.declare("default", spec)
    pid = pid_of(house, "foo")
    freeze(house)
    let_write(house, "foo")
    assert eventually(lambda: is_stopped(pid))
    house.runner.terminate()
    assert house.runner.wait() == 0
    assert not is_stopped(pid)  # the next runner may come late, or never
    thaw(house)
    house.runner.start()
    house.client.stop("default", "foo")
    assert Stream(house, "foo").is_whole(*noted(house, "foo"))


# ---- kills, and answers that are lost


def test_two_components_are_adopted_again_and_again_and_nothing_is_lost_or_doubled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F15, F26, F27: runner killed under load, registry stopped for a while, answers lost."""
    proxy = Proxy(house.registry.port)
    assert house.registry.stop() == 0
    house.registry.arguments = ("--hostname", proxy.address.removeprefix("tcp://"))
    house.registry.start()
    url = proxy.address.replace("tcp", "http")
    token = house.runner.home / "state" / "tokens" / "owner"
    monkeypatch.setenv("PALM_TOKEN_FILE", str(token))
    try:
        house.runner.start("--registry", url)
        names = ("foo", "bar")
        for name in names:
            house.client.declare("default", writer(house, name, 100 * MIB, lines=40, pause=0.005))
        pids = [pid_of(house, name) for name in names]
        streams = {name: Stream(house, name) for name in names}
        for trouble in ("answers", "kill", "registry", "kill", "answers", "kill"):
            grows(streams)
            if trouble == "kill":
                house.runner.kill()
                house.runner.start("--registry", url)
            elif trouble == "answers":
                lose_answers(proxy, house)
            else:
                house.registry.kill()
                assert eventually(lambda: spool_of_pid(pids[0]) > 0)
                time.sleep(1.0)  # so long nobody takes what they write
                house.registry.start()
        grows(streams)
        for name in names:
            house.client.stop("default", name)
        for name, stream in streams.items():
            assert stream.is_whole(*noted(house, name))
            assert stream.gaps == []
        assert [house.replicas(name)[0].restarts for name in names] == [0, 0]
    finally:
        end(house)
        proxy.close()


def grows(streams: dict[str, Stream]) -> None:
    """Wait until the registry has more of each stream."""
    for stream in streams.values():
        size = stream.read()
        assert eventually(lambda stream=stream, size=size: stream.read() > size + 50_000, LONG)


def lose_answers(proxy: Proxy, house: House) -> None:
    """Let the registry take what it is sent, and nobody hear of it."""
    before = stored(house)
    proxy.hold("down")
    try:
        assert eventually(lambda: stored(house) > before)
        proxy.cut()
    finally:
        proxy.heal()


def stored(house: House) -> int:
    """Where the newest output is."""
    page = house.client.output("default", lines=1)
    return int(page.cursor.split(".o")[1].split(".")[0])


def spool_of_pid(pid: int) -> int:
    return os.stat(f"/proc/{pid}/fd/1").st_size


# ---- lines without end, and bytes that are no text


@pytest.mark.parametrize(
    "size",
    [
        64 * MIB,
        pytest.param(
            1024 * MIB,
            marks=[
                pytest.mark.timeout(900),
                pytest.mark.skipif(
                    not os.environ.get("PALM_LONG_TESTS"), reason="PALM_LONG_TESTS is not set"
                ),
            ],
        ),
    ],
)
def test_line_without_end_is_stored_as_it_is_in_bounded_memory(house: House, size: int) -> None:
    """F29: one line, with bytes that are no text, NULs and progress bars."""
    source = f"""
import hashlib, os
digest = hashlib.sha256()
part = bytes(range(10)) + b"\\r 50%\\r100%\\xff\\xfe\\xc3(" + bytes(range(11, 256))
part *= {MIB} // len(part)
written = 0
while written < {size}:
    left = memoryview(part)
    while left:
        left = left[os.write(1, left):]
    digest.update(part)
    written += len(part)
os.write(1, b"\\nthe next\\n")
digest.update(b"\\nthe next\\n")
note = {str(note(house, "foo"))!r}
with open(note + ".part", "w") as file:
    file.write(f"{{written + 10}} {{digest.hexdigest()}}")
os.rename(note + ".part", note)
"""
    house.runner.start()
    assert house.runner.process is not None
    assert house.registry.process is not None
    house.client.declare("default", component("foo", source, restart="never", ready="delay:0"))
    deadline = size / MIB + LONG
    assert eventually(lambda: note(house, "foo").exists(), deadline)
    total, digest = map(str, note(house, "foo").read_text().split())
    stream = Stream(house, "foo")
    assert eventually(lambda: stream.read() >= int(total), deadline)
    assert stream.is_whole(int(total), digest)
    assert peak(house.runner.process.pid) < 100 * MIB
    assert peak(house.registry.process.pid) < 250 * MIB
    page = house.client.output("default", name="foo", lines=3)
    assert page.records[-1].raw == b"the next\n"
    assert max(len(record.raw) for record in page.records) <= 64 * 1024
    spool = spool_of(house, "foo")
    assert eventually(lambda: spool.path("stdout").stat().st_blocks * 512 < 4 * MIB)


def test_flood_holds_up_nobody_and_stays_small_on_disk(house: House) -> None:
    """F28."""
    house.runner.start()
    tick = PROLOGUE + (
        "notify_ready()\nwhile not stop.wait(0.05): print(repr(time.time()), flush=True)\n"
    )
    house.client.declare("default", component("tick", tick))
    assert house.ready()
    house.client.declare("default", writer(house, "flood", 24 * MIB, spool_quota=8 * MIB))
    assert Stream(house, "flood").is_whole(*noted(house, "flood"))
    spool = spool_of(house, "flood")
    assert eventually(lambda: spool.path("stdout").stat().st_blocks * 512 < 4 * MIB)
    page = house.client.output("default", name="tick", stream="stdout", limit=1000)
    delays = [record.time - float(record.raw.split()[0]) for record in page.records[1:]
              if record.raw.split()]  # fmt: skip
    assert max(delays) < 2.0
    assert house.runner.process is not None
    assert peak(house.runner.process.pid) < 100 * MIB


# ---- a full disk


@pytest.fixture
def tight(
    frozen: House, tight_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[House, Path]]:
    """A house whose runner has its state folder on a small disk."""
    house = frozen
    monkeypatch.setenv("PALM_TOKEN_FILE", str(house.runner.home / "state" / "tokens" / "owner"))
    monkeypatch.setenv("PALM_STATE_DIR", str(tight_disk / "state"))
    yield house, tight_disk
    thaw(house)
    end(house)


def free_of(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def url_of(house: House) -> str:
    return f"http://127.0.0.1:{house.registry.port}/"


def test_components_wait_before_the_disk_is_full(tight: tuple[House, Path]) -> None:
    """F30: who writes much is suspended, who writes little goes on, and nothing is lost."""
    house, disk = tight
    house.runner.start("--registry", url_of(house))
    house.client.declare("default", writer(house, "quiet", 100 * MIB, lines=1, pause=0.05))
    quiet = pid_of(house, "quiet")
    spec = writer(house, "foo", 40 * MIB, held=True, lines=100, pause=0.001)
    house.client.declare("default", spec)
    pid = pid_of(house, "foo")
    freeze(house)
    let_write(house, "foo")
    assert eventually(lambda: is_stopped(pid), LONG)
    assert free_of(disk) > 0
    size = spool_of_pid(quiet)
    assert eventually(lambda: spool_of_pid(quiet) > size + 500)
    thaw(house)
    foo = Stream(house, "foo")
    assert foo.is_whole(*noted(house, "foo"))
    house.client.stop("default", "quiet")
    assert Stream(house, "quiet").is_whole(*noted(house, "quiet"))
    log = (house.runner.home / "runner.log").read_text()
    assert "is almost full" in log
    assert "Traceback" not in log


def test_runner_outlives_a_full_disk_and_goes_on_when_there_is_room(
    tight: tuple[House, Path],
) -> None:
    """F30: neither state.json nor acked.json can be written for a while."""
    house, disk = tight
    house.runner.start("--registry", url_of(house))
    house.client.declare("default", writer(house, "foo", 100 * MIB, lines=1, pause=0.02))
    pid_of(house, "foo")
    stream = Stream(house, "foo")
    assert eventually(lambda: stream.read() > 500)
    ballast = fill(disk)
    # It writes into its last block for a while; then its own write fails, and it ends.
    sleeper = component("bar", "import time; time.sleep(60)", ready="delay:0")
    house.client.declare("default", sleeper)
    assert eventually(lambda: house.replicas("foo")[0].state == "failed", LONG)
    replicas = house.replicas("bar")
    assert not replicas or replicas[0].state in ("backing-off", "starting", "ready")
    assert house.runner.process is not None
    assert house.runner.process.poll() is None
    ballast.unlink()
    assert eventually(lambda: any(r.state == "ready" for r in house.replicas("bar")), LONG)
    spool = spool_of(house, "foo")
    assert eventually(lambda: stream.read() == spool.size("stdout"))
    assert stream.is_whole(
        stream.size, hashlib.sha256(spool.path("stdout").read_bytes()).hexdigest()
    )
    house.client.restart("default", "foo")
    assert eventually(lambda: house.replicas("foo")[0].state == "ready")
    log = (house.runner.home / "runner.log").read_text()
    assert "Traceback" not in log


def test_oldest_is_dropped_before_the_disk_is_full(tight: tuple[House, Path]) -> None:
    """F30: "drop-oldest" has the disk as a reason too, though its quota is far away."""
    house, disk = tight
    house.runner.start("--registry", url_of(house))
    spec = writer(house, "foo", 60 * MIB, lines=100, pause=0.001, spool="drop-oldest")
    house.client.declare("default", spec)
    pid_of(house, "foo")
    freeze(house)
    size, _ = noted(house, "foo")
    assert free_of(disk) > 0
    thaw(house)
    stream = Stream(house, "foo")
    assert eventually(lambda: stream.read() >= size, LONG)
    assert stream.size == size
    assert {gap.reason for gap in stream.gaps} == {"disk"}
