"""How many replicas a load takes: within bounds, steady under a steady load, slow to give up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from palm.errors import ConfigError
from palm.spec.autoscale import DONE_WITHIN, UTILISATION, Pace, Range, Reading, Scaler
from palm.spec.cluster import parse_cluster
from palm.spec.component import MAX_REPLICAS, ComponentSpec
from palm.spec.diff import change_of

ranges = st.builds(
    lambda least, more: Range(least, least + more), st.integers(1, 20), st.integers(0, 40)
)
readings = st.builds(
    Reading,
    waiting=st.integers(0, 100_000),
    busy=st.floats(0, 100),
    service=st.none() | st.floats(0, 100),
)


class Plant:
    """Workers and a queue: so many messages a second come, each takes ``service`` seconds."""

    def __init__(self, within: Range, pace: Pace = Pace()) -> None:  # noqa: B008 - it is frozen
        self.within = within
        self.scaler = Scaler(pace)
        self.replicas = within.least
        self.waiting = 0.0
        self.now = 0.0
        #: When there were how many.
        self.changes: list[tuple[float, int]] = []

    def run(self, seconds: float, rate: float, service: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            could = self.replicas / service
            done = min(could, self.waiting + rate)
            self.waiting += rate - done
            reading = Reading(int(self.waiting), done * service, service)
            found = self.scaler.decide(reading, self.replicas, self.within, self.now).replicas
            if found != self.replicas:
                self.changes.append((self.now, found))
            self.replicas = found


@given(ranges, st.lists(st.none() | readings, max_size=60), st.integers(0, 100))
def test_there_are_never_more_or_fewer_than_said(
    within: Range, seen: list[Reading | None], replicas: int
) -> None:
    scaler, now = Scaler(), 0.0
    for reading in seen:
        now += 1.0
        decision = scaler.decide(reading, replicas, within, now)
        assert within.least <= decision.replicas <= within.most
        assert within.least <= decision.wants <= within.most
        replicas = decision.replicas


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4), st.integers(0, 28), st.floats(0, 40), st.floats(0.01, 5.0))
def test_a_steady_load_comes_to_rest(least: int, more: int, load: float, service: float) -> None:
    plant = Plant(Range(least, least + more))
    plant.run(600, load / service, service)
    calm = len(plant.changes)
    plant.run(1200, load / service, service)
    assert plant.changes[calm:] == []
    enough = math.ceil(load / UTILISATION - 1e-6)
    if enough <= plant.within.most:
        assert plant.waiting < 2 + load / service  # what comes is done, and what waited
        assert plant.replicas <= max(plant.within.least, enough + 1)


@settings(deadline=None, max_examples=50)
@given(ranges, st.floats(0.1, 40), st.floats(0.01, 5.0))
def test_what_is_loaded_only_grows_and_what_is_idle_only_shrinks(
    within: Range, load: float, service: float
) -> None:
    plant = Plant(within)
    plant.run(20, 2 * load / service, service)
    plant.run(40 * load / within.least + 600, 0, service)
    counts = [count for _, count in plant.changes]
    top = counts.index(max(counts)) if counts else 0
    assert counts[: top + 1] == sorted(counts[: top + 1])
    assert counts[top:] == sorted(counts[top:], reverse=True)
    assert plant.replicas == within.least


@given(ranges, st.lists(readings, min_size=1, max_size=100))
def test_it_shrinks_only_after_a_while_in_which_fewer_would_have_done(
    within: Range, seen: list[Reading]
) -> None:
    scaler, replicas, pace = Scaler(), within.most, Pace()
    wanted: list[tuple[float, int]] = []
    for now, reading in enumerate(seen):
        wanted.append((now, reading.wants(replicas, within)))
        decision = scaler.decide(reading, replicas, within, float(now))
        if decision.replicas < replicas:
            late = [count for at, count in wanted if at >= now - pace.shrink_after]
            assert max(late) == decision.replicas
            assert now >= pace.shrink_after
        replicas = decision.replicas


@given(ranges, st.lists(readings, max_size=100))
def test_it_at_most_doubles_and_then_waits_to_see_what_that_does(
    within: Range, seen: list[Reading]
) -> None:
    scaler, replicas, grown = Scaler(), within.least, -math.inf
    for now, reading in enumerate(seen):
        decision = scaler.decide(reading, replicas, within, float(now))
        if decision.replicas > replicas:
            assert decision.replicas <= 2 * replicas
            assert now - grown >= Pace().settle
            grown = now
        replicas = decision.replicas


def test_a_queue_that_only_flickers_changes_nothing() -> None:
    plant, within = Plant(Range(2, 16)), Range(2, 16)
    for second in range(100):
        waiting = 5000 if second % 3 == 0 else 0
        reading = Reading(waiting, 1.0, 0.5)
        decision = plant.scaler.decide(reading, plant.replicas, within, float(second))
        assert decision.replicas == 2


def test_what_waits_is_done_in_time() -> None:
    reading = Reading(waiting=1200, busy=2.0, service=0.02)
    assert reading.wants(2, Range(2, 16)) == math.ceil(2.0 / UTILISATION + 24 / DONE_WITHIN) == 5


def test_without_a_single_result_it_feels_its_way() -> None:
    assert Reading(waiting=9).wants(3, Range(2, 16)) == 4
    assert Reading(waiting=0).wants(3, Range(2, 16)) == 2


def test_what_is_not_known_changes_nothing() -> None:
    scaler, within = Scaler(), Range(2, 16)
    for now in range(100):
        assert scaler.decide(None, 7, within, float(now)).replicas == 7


@pytest.mark.parametrize("text", ["2..16", " 2 .. 16 "])
def test_a_range_is_read(text: str) -> None:
    assert Range.parse(text) == Range(2, 16)
    assert str(Range.parse(text)) == "2..16"


@pytest.mark.parametrize("text", ["", "2", "2-16", "2...16", "..16", "a..b", "-1..2", "2..16..3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no number of replicas"):
        Range.parse(text)


@pytest.mark.parametrize(
    ("within", "said"),
    [
        (Range(0, 4), "from 0 replicas on"),
        (Range(4, 2), "4..2 ends before it begins"),
        (Range(1, MAX_REPLICAS + 1), "up to 1025 replicas"),
    ],
)
def test_a_range_that_cannot_be_is_refused(within: Range, said: str) -> None:
    assert [text for text, _ in within.flaws(MAX_REPLICAS)] == [said]


FILE = """
[components.foo]
role = "master"
script = "m.py"
[components.w]
role = "{role}"
script = "w.py"
replicas = {replicas}
"""


def parsed(replicas: str, role: str = "worker") -> ComponentSpec:
    text = FILE.format(replicas=replicas, role=role)
    return parse_cluster(text, "cluster.toml").components["w"]


def test_a_file_may_give_a_range() -> None:
    spec = parsed('"2..16"')
    assert (spec.replicas, spec.scales) == (2, Range(2, 16))
    assert parsed("4").scales is None


@pytest.mark.parametrize(
    ("replicas", "role", "said", "hint"),
    [
        ('"2..many"', "worker", "'2..many' is no number of replicas", 'like 4, or "2..16"'),
        ('"2-16"', "worker", "expected a whole number, got a text", "as in replicas = 2"),
        ('"16..2"', "worker", "16..2 ends before it begins", '"2..16"'),
        ('"0..2"', "worker", "from 0 replicas on", "at least 1: what has none does not learn that"),
        ('"1..2000"', "worker", "up to 2000 replicas", "at most 1024"),
        ('"1..2"', "process", "a process cannot scale itself",
         "give a number; only of workers is known how much waits for them"),
    ],
)  # fmt: skip
def test_a_range_in_a_file_that_cannot_be_is_refused_with_its_line(
    replicas: str, role: str, said: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(replicas, role)
    error = refused.value
    assert (error.args[0], error.line, error.key, error.hint) == (
        said, 8, "components.w.replicas", hint,
    )  # fmt: skip


def test_what_scales_itself_keeps_its_number_when_its_file_comes_again() -> None:
    runs = replace(parsed('"2..16"'), replicas=7, generation=3)
    assert change_of(runs, parsed('"2..16"')) is None
    narrower = change_of(runs, parsed('"2..5"'))
    assert narrower is not None
    assert (narrower.effect, narrower.text) == ("scaled", "scaled 7 -> 5")
    fixed = change_of(runs, parsed("3"))
    assert fixed is not None and (fixed.effect, fixed.replaces) == ("scaled", False)
    wider = change_of(replace(parsed("3"), generation=3), parsed('"2..16"'))
    assert wider is not None and (wider.effect, wider.replaces) == ("none", False)


def test_what_scales_itself_begins_with_its_fewest_once_it_was_stopped() -> None:
    stopped = replace(parsed('"2..16"'), replicas=7, generation=3)
    again = change_of(stopped, parsed('"2..16"'), running=False)
    assert again is not None
    assert (again.effect, again.text) == ("started", "started, 2 replicas")
