"""The rules of the supervisor: events in, effects out, with a clock and chance of our own."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.runner import supervisor
from palm.runner.supervisor import (
    BACKOFF_LIMIT,
    JITTER,
    LIMIT_GRACE,
    MAX_FAILED_STARTS,
    MAX_FAILURES,
    STABLE_AFTER,
    Effect,
    Event,
    Exited,
    LimitExceeded,
    Ready,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    StartRequested,
    StopRequested,
    Supervisor,
    Tick,
    describe_exit,
)
from palm.spec.exits import START_AGAIN
from palm.spec.process import RESTART_POLICIES, ProcessSpec, Restart, State

TERM, KILL = "SIGTERM", "SIGKILL"


def make(
    restart: Restart = "on-failure", grace: float = 5.0, ready_timeout: float = 30.0
) -> Supervisor:
    spec = ProcessSpec("foo", ("true",), restart=restart, grace=grace, ready_timeout=ready_timeout)
    return Supervisor(spec, lambda: 0.5)


def start(machine: Supervisor, now: float = 0.0) -> None:
    assert machine.handle(StartRequested(), now) == [Spawn(1)]
    assert machine.handle(Spawned(1, 77), now) == []


def make_ready(machine: Supervisor, now: float = 0.0) -> None:
    start(machine, now)
    machine.handle(Ready(machine.run), now)
    assert machine.state == "ready"


def test_every_event_is_valid_in_every_state() -> None:
    assert set(supervisor._TABLE) == set(get_args(State))
    for rules in supervisor._TABLE.values():
        assert set(rules) == set(get_args(Event))


def test_start_is_ready_when_the_process_says_so() -> None:
    machine = make()
    start(machine)
    assert (machine.state, machine.pid, machine.next_deadline) == ("starting", 77, 30.0)
    assert machine.handle(Ready(1), 1.0) == []
    assert (machine.state, machine.next_deadline) == ("ready", None)


def test_second_start_does_nothing() -> None:
    machine = make()
    start(machine)
    assert machine.handle(StartRequested(), 1.0) == []
    machine.handle(Ready(1), 1.0)
    assert machine.handle(StartRequested(), 1.0) == []


def test_stop_terminates_then_kills_the_group() -> None:
    machine = make(grace=5.0)
    make_ready(machine)
    assert machine.handle(StopRequested(), 10.0) == [Signal(1, TERM)]
    assert machine.next_deadline == 15.0
    assert machine.handle(Tick(), 14.9) == []
    assert machine.handle(Tick(), 15.0) == [Signal(1, KILL)]
    assert machine.handle(Tick(), 16.0) == []
    machine.handle(Exited(1, -9, KILL), 15.1)
    assert machine.state == "stopped"
    assert machine.reason == "was killed, as it did not stop within its grace"


def test_stop_in_time_needs_no_kill() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(StopRequested(), 10.0)
    assert machine.handle(Exited(1, 0), 11.0) == []
    assert (machine.state, machine.reason, machine.exit) == ("stopped", "was stopped", 0)


def test_second_stop_can_only_shorten_the_grace() -> None:
    machine = make(grace=5.0)
    make_ready(machine)
    machine.handle(StopRequested(), 0.0)
    machine.handle(StopRequested(60.0), 1.0)
    assert machine.next_deadline == 5.0
    machine.handle(StopRequested(0.0), 2.0)
    assert machine.next_deadline == 2.0


def test_stop_before_the_process_exists_ends_it_once_it_does() -> None:
    machine = make()
    machine.handle(StartRequested(), 0.0)
    machine.handle(StopRequested(), 0.0)
    assert machine.handle(Spawned(1, 5), 0.1) == [Signal(1, TERM)]
    machine.handle(Exited(1, -15, TERM), 0.2)
    assert machine.state == "stopped"


def test_kill_that_was_due_before_the_process_existed_is_not_forgotten() -> None:
    machine = make(grace=1.0)
    machine.handle(StartRequested(), 0.0)
    machine.handle(StopRequested(), 0.0)
    assert machine.handle(Tick(), 1.0) == [Signal(1, KILL)]
    assert machine.handle(Spawned(1, 5), 2.0) == [Signal(1, KILL)]


def test_start_during_a_stop_starts_anew_after_the_exit() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(StopRequested(), 1.0)
    assert machine.handle(StartRequested(), 1.1) == []
    assert machine.handle(Exited(1, 0), 1.2) == [Spawn(2)]
    assert machine.state == "starting"


def test_crash_restarts_after_a_delay() -> None:
    machine = make()
    make_ready(machine)
    assert machine.handle(Exited(1, -9, KILL), 1.0) == []
    assert machine.state == "backing-off"
    assert machine.reason == "was killed by SIGKILL (by hand, or for lack of memory)"
    assert machine.next_deadline == 1.5
    assert machine.handle(Tick(), 1.4) == []
    assert machine.handle(Tick(), 1.5) == [Spawn(2)]
    assert machine.restarts == 1
    assert not machine.start_failed


def test_start_request_ends_the_waiting_at_once() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(Exited(1, 1), 1.0)
    assert machine.handle(StartRequested(), 1.1) == [Spawn(2)]


def test_stop_while_waiting_needs_no_process() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(Exited(1, 1), 1.0)
    assert machine.handle(StopRequested(), 1.1) == []
    assert machine.state == "stopped"
    assert machine.handle(Tick(), 100.0) == []


@pytest.mark.parametrize(
    ("restart", "code", "state"),
    [
        ("never", 0, "stopped"),
        ("never", 1, "failed"),
        ("on-failure", 0, "stopped"),
        ("on-failure", 1, "backing-off"),
        ("on-failure", -11, "backing-off"),
        ("always", 0, "backing-off"),
        ("always", 1, "backing-off"),
    ],
)
def test_restart_policy(restart: Restart, code: int, state: State) -> None:
    machine = make(restart)
    make_ready(machine)
    machine.handle(Exited(1, code), 1.0)
    assert machine.state == state


@pytest.mark.parametrize("restart", ["on-failure", "always"])
def test_one_that_wants_to_be_started_again_is_started_at_once(restart: Restart) -> None:
    machine = make(restart)
    make_ready(machine)
    for life in range(2, 3 * MAX_FAILURES):
        assert machine.handle(Exited(machine.run, START_AGAIN), 1.0) == [Spawn(life)]
        assert machine.state == "starting"
        machine.handle(Spawned(life, 77), 1.0)
        machine.handle(Ready(life), 1.1)
    assert (machine.state, machine.start_failed) == ("ready", False)


def test_one_that_is_never_restarted_is_not_started_again_either() -> None:
    machine = make("never")
    make_ready(machine)
    assert machine.handle(Exited(1, START_AGAIN), 1.0) == []
    assert (machine.state, machine.reason) == ("stopped", "ended, to be started again")


def test_one_that_was_not_ready_and_wants_to_be_started_again_failed() -> None:
    machine = make()
    start(machine)
    assert machine.handle(Exited(1, START_AGAIN), 1.0) == []
    assert (machine.state, machine.start_failed) == ("backing-off", True)


def test_one_that_is_being_stopped_is_not_started_again() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(StopRequested(), 1.0)
    assert machine.handle(Exited(1, START_AGAIN), 1.1) == []
    assert machine.state == "stopped"


def test_too_slow_a_start_is_ended_and_tried_again() -> None:
    machine = make(ready_timeout=30.0, grace=5.0)
    start(machine)
    assert machine.handle(Tick(), 29.0) == []
    assert machine.handle(Tick(), 30.0) == [Signal(1, TERM)]
    assert machine.start_failed
    assert machine.timed_out
    assert machine.reason == "was not ready within 30 s, is being stopped"
    machine.handle(Exited(1, 0), 31.0)  # also with exit code 0: it was not what was wanted
    assert machine.state == "backing-off"
    assert machine.reason == "was not ready within 30 s"


def test_start_that_never_succeeds_is_given_up() -> None:
    machine = make()
    machine.handle(StartRequested(), 0.0)
    now = 0.0
    for _ in range(MAX_FAILED_STARTS - 1):
        machine.handle(Exited(machine.run, 1), now)
        assert machine.start_failed
        assert machine.next_deadline is not None
        now = machine.next_deadline
        machine.handle(Tick(), now)
    machine.handle(SpawnFailed(machine.run, "could not be started: gone"), now)
    assert machine.state == "failed"
    assert machine.reason == "could not be started: gone, 5 times in a row"


def test_crash_loop_after_being_ready_is_given_up_later() -> None:
    machine = make()
    machine.handle(StartRequested(), 0.0)
    now, crashes = 0.0, 0
    while machine.state != "failed":
        machine.handle(Ready(machine.run), now)
        machine.handle(Exited(machine.run, 1), now + 1.0)
        crashes += 1
        now = machine.next_deadline or now
        machine.handle(Tick(), now)
    assert crashes == MAX_FAILURES


def test_long_good_run_forgives_earlier_failures() -> None:
    machine = make()
    machine.handle(StartRequested(), 0.0)
    now = 0.0
    for _ in range(3 * MAX_FAILURES):
        machine.handle(Ready(machine.run), now)
        machine.handle(Exited(machine.run, 1), now + STABLE_AFTER)
        assert machine.next_deadline == now + STABLE_AFTER + supervisor.BACKOFF_FIRST
        now = machine.next_deadline
        machine.handle(Tick(), now)


def test_failed_component_can_be_started_again() -> None:
    machine = make("never")
    make_ready(machine)
    machine.handle(Exited(1, 3), 1.0)
    assert (machine.state, machine.reason) == ("failed", "ended with exit code 3")
    assert machine.handle(StartRequested(), 2.0) == [Spawn(2)]
    assert machine.reason == ""


def test_news_of_an_earlier_run_is_ignored() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(Exited(1, 1), 1.0)
    machine.handle(StartRequested(), 1.0)
    assert machine.run == 2
    for event in (Ready(1), Exited(1, 0), SpawnFailed(1, "late")):
        assert machine.handle(event, 1.0) == []
        assert machine.state == "starting"
    assert machine.handle(Spawned(1, 5), 1.0) == [Signal(1, KILL)]


USED = "used 2.1G of memory, its limit is 2G"


def test_one_that_uses_too_much_is_ended_soon_and_started_again() -> None:
    machine = make(grace=5.0)
    make_ready(machine)
    assert machine.handle(LimitExceeded(1, USED), 100.0) == [Signal(1, TERM)]
    assert machine.reason == f"{USED}, is being stopped"
    assert machine.handle(LimitExceeded(1, USED), 100.5) == []  # it was told already
    assert machine.handle(Tick(), 100.0 + LIMIT_GRACE) == [Signal(1, KILL)]
    machine.handle(Exited(1, 0), 101.1)
    assert (machine.state, machine.reason) == ("backing-off", USED)
    assert not machine.timed_out


def test_one_that_uses_too_much_and_is_never_restarted_has_failed() -> None:
    machine = make("never")
    make_ready(machine)
    machine.handle(LimitExceeded(1, USED), 1.0)
    machine.handle(Exited(1, -15, TERM), 1.1)
    assert (machine.state, machine.reason) == ("failed", USED)


def test_one_that_uses_too_much_before_it_is_ready_did_not_start() -> None:
    machine = make()
    start(machine)
    machine.handle(LimitExceeded(1, USED), 1.0)
    machine.handle(Exited(1, -15, TERM), 1.1)
    assert machine.start_failed
    assert (machine.state, machine.reason) == ("backing-off", USED)


def test_stop_of_one_that_uses_too_much_is_a_stop() -> None:
    machine = make()
    make_ready(machine)
    machine.handle(LimitExceeded(1, USED), 1.0)
    machine.handle(StopRequested(), 1.1)
    machine.handle(Exited(1, -15, TERM), 1.2)
    assert machine.state == "stopped"


ENDS = st.sampled_from(["exit", "signal", "limit", "slow", "no process"])


@given(st.lists(ENDS, min_size=MAX_FAILURES, max_size=MAX_FAILURES), st.booleans())
def test_crash_loop_ends_however_its_runs_end(ends: list[str], ready: bool) -> None:
    machine = make("always", grace=1.0)
    machine.handle(StartRequested(), 0.0)
    now, count, most = 0.0, 0, MAX_FAILURES if ready else MAX_FAILED_STARTS
    for end in ends:
        count += 1
        if end == "no process":
            machine.handle(SpawnFailed(machine.run, "could not be started"), now)
        else:
            machine.handle(Spawned(machine.run, 7), now)
            if ready and end != "slow":
                machine.handle(Ready(machine.run), now)
            if end == "limit":
                machine.handle(LimitExceeded(machine.run, USED), now)
            if end == "slow":
                now = machine.next_deadline or now
                machine.handle(Tick(), now)
            code = -9 if end == "signal" else 1
            machine.handle(Exited(machine.run, code, KILL if code < 0 else ""), now)
        if machine.state == "failed":
            break
        assert machine.state == "backing-off"
        now = machine.next_deadline or now
        assert machine.handle(Tick(), now) == [Spawn(machine.run)]
    assert machine.state == "failed"
    assert count <= most
    assert machine.reason.endswith(f"{count} times in a row")
    assert machine.handle(Tick(), now + 1e6) == []


@pytest.mark.parametrize(
    ("code", "signal", "text"),
    [
        (0, "", "ended with exit code 0"),
        (3, "", "ended with exit code 3"),
        (-11, "SIGSEGV", "was killed by SIGSEGV (segmentation fault)"),
        (-15, "SIGTERM", "was ended by SIGTERM"),
        (-12, "SIGUSR2", "was killed by SIGUSR2"),
        (
            -24,
            "SIGXCPU",
            "was killed by SIGXCPU (it used up the processor time of its limits)",
        ),
    ],
)
def test_exits_in_words(code: int, signal: str, text: str) -> None:
    assert describe_exit(code, signal) == text


class SupervisorModel(RuleBasedStateMachine):
    """A supervisor beside a simulated system in which things come late, twice or never."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.chance = 0.0
        self.spec = ProcessSpec("foo", ("true",))
        self.machine = Supervisor(self.spec, lambda: self.chance)
        self.to_spawn: list[int] = []
        self.alive: dict[int, set[str]] = {}  # run -> signals it got
        self.dead: list[int] = []
        self.wanted = False
        self.asked = False

    def feed(self, event: Event) -> None:
        before = self.machine.state
        effects = self.machine.handle(event, self.now)
        for effect in effects:
            self.perform(effect)
        if before in ("stopped", "failed") and not isinstance(event, StartRequested):
            assert self.machine.state == before

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Spawn):
            assert not self.to_spawn
            assert not self.alive, "two processes of one component"
            assert effect.run == self.machine.run
            self.to_spawn.append(effect.run)
        elif effect.run in self.alive:
            self.alive[effect.run].add(effect.signal)
            if effect.signal == KILL:
                self.die(effect.run, -9, KILL)

    def die(self, run: int, code: int, signal: str) -> None:
        del self.alive[run]
        self.dead.append(run)
        self.feed(Exited(run, code, signal))

    @rule(restart=st.sampled_from(RESTART_POLICIES))
    @precondition(lambda self: self.machine.state == "stopped" and not self.to_spawn)
    def begin_anew(self, restart: Restart) -> None:
        self.spec = ProcessSpec("foo", ("true",), restart=restart)
        self.machine = Supervisor(self.spec, lambda: self.chance)
        self.asked = False
        self.dead.clear()

    @rule(chance=st.floats(0.0, 1.0))
    def start(self, chance: float) -> None:
        self.chance = chance
        self.asked = True
        self.feed(StartRequested())

    @rule(grace=st.none() | st.floats(0.0, 60.0))
    def stop(self, grace: float | None) -> None:
        self.feed(StopRequested(grace))
        assert self.machine.state in ("stopping", "stopped", "failed")

    @rule()
    @precondition(lambda self: self.to_spawn)
    def spawn_succeeds(self) -> None:
        run = self.to_spawn.pop()
        self.alive[run] = set()
        self.feed(Spawned(run, 1000 + run))

    @rule()
    @precondition(lambda self: self.to_spawn)
    def spawn_fails(self) -> None:
        self.feed(SpawnFailed(self.to_spawn.pop(), "could not be started"))

    @rule()
    @precondition(lambda self: self.alive)
    def says_ready(self) -> None:
        self.feed(Ready(next(iter(self.alive))))

    @rule()
    @precondition(lambda self: self.alive)
    def uses_too_much(self) -> None:
        state = self.machine.state
        self.feed(LimitExceeded(next(iter(self.alive)), USED))
        assert self.machine.state == ("stopping" if state in ("starting", "ready") else state)

    @rule(end=st.sampled_from([(0, ""), (1, ""), (-11, "SIGSEGV"), (-9, KILL)]))
    @precondition(lambda self: self.alive)
    def ends(self, end: tuple[int, str]) -> None:
        self.die(next(iter(self.alive)), *end)

    @rule(data=st.data())
    @precondition(lambda self: self.dead)
    def old_news(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.dead))
        before = (self.machine.state, self.machine.run)
        if run != self.machine.run:
            old = [Ready(run), Exited(run, 0), Spawned(run, 1), LimitExceeded(run, USED)]
            self.feed(data.draw(st.sampled_from(old)))
            assert (self.machine.state, self.machine.run) == before

    @rule(seconds=st.floats(0.0, 100.0))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Tick())

    @rule()
    @precondition(lambda self: self.machine.next_deadline is not None)
    def deadline_comes(self) -> None:
        assert self.machine.next_deadline is not None
        self.now = max(self.now, self.machine.next_deadline)
        state = self.machine.state
        self.feed(Tick())
        assert state in ("starting", "backing-off", "stopping")
        assert self.machine.state != state or self.machine.next_deadline is None

    @invariant()
    def nothing_runs_when_it_is_over(self) -> None:
        if self.machine.state in ("stopped", "failed", "backing-off"):
            assert not self.alive
            assert not self.to_spawn
            assert self.machine.pid is None
        else:
            assert self.alive or self.to_spawn

    @invariant()
    def what_is_being_stopped_was_told(self) -> None:
        if self.machine.state == "stopping":
            assert all(signals for signals in self.alive.values())

    @invariant()
    def every_waiting_state_ends_by_itself(self) -> None:
        deadline = self.machine.next_deadline
        if self.machine.state in ("starting", "backing-off"):
            assert deadline is not None
        if self.machine.state in ("ready", "stopped", "failed"):
            assert deadline is None
        if self.machine.state == "backing-off":
            assert deadline is not None
            assert deadline <= self.now + BACKOFF_LIMIT * (1 + JITTER)

    @invariant()
    def nothing_starts_unasked(self) -> None:
        assert self.asked or (self.machine.state == "stopped" and not self.alive)

    def teardown(self) -> None:
        """A stop always ends: at the latest when the grace is over."""
        self.feed(StopRequested(1.0))
        if self.to_spawn:
            self.spawn_succeeds()
        self.now += 100.0
        self.feed(Tick())
        assert self.machine.state in ("stopped", "failed")
        assert not self.alive


TestSupervisorModel = SupervisorModel.TestCase
TestSupervisorModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
