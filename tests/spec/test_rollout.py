"""A new version takes the place of the one before, a few replicas at a time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from palm.spec.rollout import Version, keeping, share_of

OLD, NEW = Version(new=False, ready=True), Version(new=True, ready=True)
STARTING, FAILED = Version(new=True, ready=False), Version(new=True, ready=False, failed=True)
SICK = Version(new=False, ready=False)


def test_one_has_its_turn_and_the_others_go_on() -> None:
    assert keeping({0: OLD, 1: OLD, 2: OLD, 3: OLD}, 4) == [1, 2, 3]
    assert keeping({0: STARTING, 1: OLD, 2: OLD, 3: OLD}, 4) == [1, 2, 3]
    assert keeping({1: OLD, 2: OLD, 3: OLD}, 4) == [1, 2, 3]  # it is about to be started
    assert keeping({0: NEW, 1: OLD, 2: OLD, 3: OLD}, 4) == [2, 3]
    assert keeping({0: NEW, 1: NEW, 2: NEW, 3: OLD}, 4) == []


def test_nobody_has_a_turn_while_one_of_the_new_version_fails() -> None:
    assert keeping({0: FAILED, 1: OLD, 2: OLD, 3: OLD}, 4) == [1, 2, 3]
    many = {0: FAILED} | dict.fromkeys(range(1, 40), OLD)
    assert keeping(many, 40) == list(range(1, 40))


def test_one_of_the_version_before_that_serves_nobody_does_not_wait() -> None:
    assert keeping({0: OLD, 1: SICK, 2: SICK}, 3) == [0]
    assert keeping({0: SICK, 1: SICK}, 2) == []


def test_single_one_is_replaced_at_once() -> None:
    assert keeping({0: OLD}, 1) == []


def test_more_replicas_come_before_others_are_replaced() -> None:
    assert keeping({0: OLD, 1: OLD}, 4) == [0, 1]
    assert keeping({0: OLD, 1: OLD, 2: NEW, 3: NEW}, 4) == [1]


def test_those_beyond_the_wanted_do_not_count() -> None:
    assert keeping({0: OLD, 1: OLD, 2: OLD, 3: OLD}, 2) == [1]


@given(st.integers(1, 200))
def test_a_tenth_may_be_missing_and_one_at_least(replicas: int) -> None:
    assert 1 <= share_of(replicas) <= max(1, replicas / 10)


class RolloutModel(RuleBasedStateMachine):
    """A component whose runners are told now and then, and do it in any order."""

    @initialize(desired=st.integers(1, 25))
    def begin(self, desired: int) -> None:
        self.desired = desired
        self.replicas = dict.fromkeys(range(desired), OLD)
        self.told = self.decide()

    def decide(self) -> list[int]:
        return keeping(self.replicas, self.desired)

    def numbers(self, version: Version) -> list[int]:
        return [number for number, each in self.replicas.items() if each == version]

    @rule()
    def runners_hear(self) -> None:
        self.told = self.decide()

    @rule(data=st.data())
    def one_is_stopped(self, data: st.DataObject) -> None:
        open_ = [n for n in self.numbers(OLD) if n not in self.told]
        if open_:
            number = data.draw(st.sampled_from(open_))
            self.replicas[number] = STARTING

    @rule(data=st.data(), well=st.booleans())
    @precondition(lambda self: self.numbers(STARTING))
    def one_has_started(self, data: st.DataObject, well: bool) -> None:
        number = data.draw(st.sampled_from(self.numbers(STARTING)))
        self.replicas[number] = NEW if well else FAILED

    @rule(data=st.data())
    @precondition(lambda self: self.numbers(FAILED))
    def one_is_tried_again(self, data: st.DataObject) -> None:
        self.replicas[data.draw(st.sampled_from(self.numbers(FAILED)))] = STARTING

    @invariant()
    def so_many_at_least_are_ready(self) -> None:
        ready = sum(each.ready for each in self.replicas.values())
        assert ready >= self.desired - share_of(self.desired)

    @invariant()
    def same_facts_give_the_same_answer(self) -> None:
        assert self.decide() == self.decide() == sorted(set(self.decide()))
        assert set(self.decide()) <= set(self.numbers(OLD))

    def teardown(self) -> None:
        """Once all that is started becomes ready, every replica gets its turn."""
        for _ in range(3 * len(getattr(self, "replicas", ()))):
            for number in self.numbers(STARTING) + self.numbers(FAILED):
                self.replicas[number] = NEW
            for number in set(self.numbers(OLD)) - set(self.decide()):
                self.replicas[number] = STARTING
        assert not self.numbers(OLD) if hasattr(self, "replicas") else True


TestRolloutModel = RolloutModel.TestCase
TestRolloutModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
