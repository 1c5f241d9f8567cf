"""What is kept of samples: the newest, a few minutes, and never more than there is room for."""

from __future__ import annotations

import random

import pytest

from palm.registry_api.schema import NodeSamples, Sample
from palm_registry import samples as module
from palm_registry.samples import APART, FRAME_EVERY, KEPT, STALE, Beat, Samples, sample_every


def sample(name: str, **more: object) -> Sample:
    return Sample(name=name, component=name, **more)  # type: ignore[arg-type]


def report(*names: str, **more: object) -> NodeSamples:
    return NodeSamples(bounds=[0.1, 1.0], samples=[sample(name, **more) for name in names])


def test_the_newest_sample_of_each_process_is_there_with_its_node() -> None:
    samples = Samples()
    samples.put("c", "one", report("b", "a", queued=1), now=0.0, time=100.0)
    samples.put("c", "two", report("d"), now=1.0, time=101.0)
    samples.put("c", "one", report("b", "a", queued=2), now=2.0, time=102.0)
    found = samples.newest("c", {"one", "two"}, now=2.0)
    assert [(each.name, each.node, each.queued) for each in found] == [
        ("a", "one", 2), ("b", "one", 2), ("d", "two", 0),
    ]  # fmt: skip
    assert samples.bounds("c", {"one"}, now=2.0) == [0.1, 1.0]


def test_a_process_that_is_not_named_any_more_is_gone_with_its_series() -> None:
    samples = Samples()
    samples.put("c", "one", report("a", "b"), now=0.0, time=0.0)
    samples.put("c", "one", report("a"), now=2.0, time=2.0)
    assert [each.name for each in samples.newest("c", {"one"}, now=2.0)] == ["a"]
    samples.put("c", "one", report("a", "b"), now=4.0, time=4.0)
    series = {each.name: len(each.points) for each in samples.series("c", {"one"}, now=4.0)}
    assert series == {"a": 3, "b": 1}


def test_what_a_node_said_is_not_shown_once_it_is_lost_or_silent() -> None:
    samples = Samples()
    samples.put("c", "one", report("a"), now=0.0, time=0.0)
    assert samples.newest("c", set(), now=0.0) == []
    assert samples.newest("c", {"one"}, now=STALE) != []
    assert samples.newest("c", {"one"}, now=STALE + 0.1) == []
    assert samples.series("c", {"one"}, now=STALE + 0.1) == []
    assert samples.expire(STALE) == []
    assert samples.expire(STALE + 0.1) == ["c"]
    assert samples._clusters == {}


def test_a_series_holds_the_last_minutes_in_order() -> None:
    samples = Samples()
    for tick in range(400):
        samples.put("c", "one", report("a", queued=tick), now=2.0 * tick, time=1000.0 + 2 * tick)
    (series,) = samples.series("c", {"one"}, now=798.0)
    times = [point.time for point in series.points]
    assert times == [1000.0 + 2 * tick for tick in range(249, 400)]
    assert times[-1] - times[0] == KEPT
    assert [point.queued for point in series.points] == list(range(249, 400))


def test_a_runner_that_says_too_much_gets_no_more_room() -> None:
    samples = Samples()
    for tick in range(1000):
        samples.put("c", "one", report("a"), now=tick * APART / 10, time=0.0)
    (series,) = samples.series("c", {"one"}, now=100 * APART)
    assert len(series.points) <= 101


@pytest.mark.parametrize("seed", range(5))
def test_memory_is_bounded_whatever_nodes_say(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROCESSES", 20)
    monkeypatch.setattr(module, "MAX_CLUSTER_POINTS", 100)
    dice, samples, now = random.Random(seed), Samples(), 0.0
    for _ in range(500):
        now += dice.random() * 3
        names = dice.sample([f"p{number}" for number in range(30)], dice.randrange(30))
        samples.put("c", dice.choice(["one", "two", "three"]), report(*names), now, now)
        samples.expire(now)
        cluster = samples._clusters["c"]
        assert sum(len(each.samples) for each in cluster.reports.values()) <= 20
        assert sum(len(line.points) for line in cluster.lines.values()) <= 100 + 20
        known = {(node, each.name) for node, r in cluster.reports.items() for each in r.samples}
        assert set(cluster.lines) == known


def test_many_nodes_sample_less_often_and_never_so_late_that_they_are_forgotten() -> None:
    paces = [sample_every(nodes) for nodes in range(0, 20_000, 50)]
    assert paces[0] == 1.0 and paces == sorted(paces)
    assert all(nodes / sample_every(nodes) <= 250 for nodes in range(1001))
    assert 2 * max(paces) < STALE


def test_a_follower_gets_one_frame_a_second_and_the_newest_is_never_left_out() -> None:
    beat = Beat()
    assert beat.take(0, now=10.0)  # what there is, at once
    assert not beat.take(0, now=10.0) and beat.wait(0, now=10.0) is None
    assert not beat.take(1, now=10.5)
    assert beat.wait(1, now=10.5) == pytest.approx(FRAME_EVERY - 0.5)
    assert not beat.take(7, now=10.9)
    assert beat.take(7, now=11.0)
    assert beat.wait(7, now=11.0) is None
    assert beat.take(8, now=99.0)


def test_a_follower_that_wants_no_samples_gets_none() -> None:
    beat = Beat()
    assert not beat.take(None, now=1.0)
    assert beat.wait(None, now=1.0) is None
