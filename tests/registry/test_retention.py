"""What is kept of output: so much, for so long, and those who read it are told what is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.registry_api.client import RegistryClient
from palm_registry.service.retention import too_much
from palm_registry.settings import Settings
from tests.registry.test_live import frames_until, output_of
from tests.support.cluster import until
from tests.support.registry import RegistryThread, piece

MIB = 1024 * 1024
BOUND = 60.0  # seconds; far beyond what any of this takes


def sent(client: RegistryClient, name: str, size: int, each: int = 64 * 1024) -> bytes:
    """Have a component write so many bytes of lines; return them."""
    line = b"%s %s %%08d\n" % (name.encode(), b"x" * 80)
    data = b"".join(line % n for n in range(size // len(line % 0)))
    pieces = [
        piece(at, data[at : at + each], instance=name, component=name, name=name)
        for at in range(0, len(data), each)
    ]
    for at in range(0, len(pieces), 16):
        client.send_output("c", pieces[at : at + 16])
    return data


def stored(client: RegistryClient, name: str) -> bytes:
    """Return what is left of a component's output."""
    found, cursor = b"", "start"
    while True:
        page = client.output("c", name, cursor=cursor)
        found += b"".join(record.raw for record in page.records)
        cursor = page.cursor
        if not page.more:
            return found


def size_of(home: Path) -> int:
    return (home / "state" / "registry.db").stat().st_size


@pytest.fixture
def small(palm_home: Path, database_url: str) -> Any:
    running = RegistryThread(palm_home, database=database_url, retain_size=8 * MIB).start()
    yield running
    running.stop()


@pytest.mark.both_databases
def test_who_floods_loses_its_own_oldest_output_and_the_file_shrinks(
    small: RegistryThread, palm_home: Path, database_url: str
) -> None:
    with small.client() as client:
        client.create_cluster("c")
        quiet = sent(client, "quiet", 100_000)
        flood = sent(client, "flood", 40 * MIB)
        until(lambda: len(stored(client, "flood")) < 8 * MIB, within=BOUND)
        if not database_url:  # PostgreSQL looks after its files itself
            until(lambda: size_of(palm_home) < 12 * MIB, within=BOUND)
        left = stored(client, "flood")
        assert len(left) > 4 * MIB
        assert flood.endswith(left)
        assert stored(client, "quiet") == quiet
        # What was acknowledged counts on: nobody is to send it again.
        (ack,) = client.send_output("c", [piece(0, flood[:10], instance="flood",
                                                component="flood", name="flood")])  # fmt: skip
        assert ack.durable_offset == len(flood)
    small.stop()
    small.start()
    with small.client() as client:
        assert stored(client, "flood") == left


@pytest.mark.both_databases
def test_who_comes_too_late_is_told_and_goes_on_with_what_is_there(small: RegistryThread) -> None:
    with small.client() as client:
        client.create_cluster("c")
        sent(client, "flood", 64 * 1024)
        early = client.output("c", limit=1).cursor
        flood = sent(client, "other", 40 * MIB)
        until(lambda: len(stored(client, "other")) < 8 * MIB, within=BOUND)
        page = client.output("c", cursor=early)
        assert page.dropped
        assert not client.output("c", "flood", cursor=early).dropped
        assert not client.output("c", cursor=page.cursor).dropped
        with client.live("c", ["output"], early, gapless=True) as feed:
            left = len(stored(client, "other"))
            frames = frames_until(feed, lambda found: len(output_of(found)) >= left)
        assert [f.data.reason for f in frames if f.topic == "skipped"] == ["dropped"]
        assert flood.endswith(output_of(frames))
        with client.live("c", ["output"], "start", gapless=True) as feed:
            frames = frames_until(feed, lambda found: len(output_of(found)) >= left)
        assert {frame.topic for frame in frames} == {"output"}


def test_what_is_too_old_goes_and_events_with_it(
    palm_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_registry.service.retention.PERIOD", 0.1)
    running = RegistryThread(palm_home, retain_age=3600.0).start()
    try:
        with running.client() as client:
            client.create_cluster("c", None)
            sent(client, "a", 10_000)
            assert client.events("c")[0]
            # A wrong clock ages nothing,
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 10 * 3600)
            sent(client, "b", 10_000)
            monkeypatch.undo()
            monkeypatch.setattr("palm_registry.service.retention.PERIOD", 0.1)
            time.sleep(0.5)
            assert stored(client, "a") and stored(client, "b")
            # and time does.
            assert running.registry is not None and running.registry.service is not None
            running.registry.service.retention._began += 20 * 3600
            until(lambda: not stored(client, "a"), within=BOUND)
            until(lambda: not client.events("c")[0], within=BOUND)
    finally:
        running.stop()


def test_without_limits_all_is_kept(palm_home: Path) -> None:
    settings = Settings(run=palm_home / "run", state=palm_home / "state")
    assert settings.retain_size == 10 * 1024**3
    assert settings.retain_age == 30 * 86400
    running = RegistryThread(palm_home, retain_size=None, retain_age=None).start()
    try:
        with running.client() as client:
            client.create_cluster("c")
            data = sent(client, "a", 4 * MIB)
            assert stored(client, "a") == data
    finally:
        running.stop()


@given(st.dictionaries(st.tuples(st.just("c"), st.text(max_size=2)), st.integers(0, 100)))
def test_room_is_made_where_most_is(kept: dict[tuple[str, str], int]) -> None:
    found = too_much(kept)
    if found is None:
        assert not any(kept.values())
    else:
        assert kept[found] == max(kept.values())


@pytest.mark.both_databases
def test_what_is_lost_takes_no_room_from_others(small: RegistryThread) -> None:
    """A gap of terabytes is a row: who has it is not who has most."""
    with small.client() as client:
        client.create_cluster("c")
        few = sent(client, "few", MIB)
        gap = piece(len(few), b"", instance="few", component="few", name="few", lost=2**40)
        assert client.send_output("c", [gap])[0].durable_offset == len(few) + 2**40
        sent(client, "flood", 16 * MIB)
        until(lambda: len(stored(client, "flood")) < 8 * MIB, within=BOUND)
        assert stored(client, "few") == few
