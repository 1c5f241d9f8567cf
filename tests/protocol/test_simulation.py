"""Every message has exactly one outcome, whatever order and whatever faults a seed thinks of.

``PALM_SIMULATIONS=5000`` runs more seeds, ``PALM_SEED=17`` one.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palm.protocol.sessions import RETURN_WITHIN
from tests.support.simulation import Simulation

STEPS = 300


class Unsteady(Simulation):
    """A cluster whose processes live, and whose connections break again and again.

    ``worker_faults`` stays 0, so any message that is held to have ended a worker is an error.
    """

    def _pass_time(self) -> None:
        self.now += self.random.choice((0.001, 0.01, 0.1))

    def _submit(self) -> None:
        payloads = [self.random.randbytes(3) for _ in range(self.random.choice((1, 1, 2, 40)))]
        self.random.choice(self.clients).submit(payloads, last=self.random.random() < 0.3)

    def _work(self) -> None:
        if self.random.random() < 0.2:  # most are still at it when the next connection breaks
            super()._work()

    def _fault(self) -> None:
        """Break one connection, or all as when the master stands still; wait for the workers."""
        lost = self.workers if self.random.random() < 0.3 else [self.random.choice(self.workers)]
        for each in (*lost, self.random.choice(self.clients)):
            if each.alive:
                each.break_link()
        until = self.now + RETURN_WITHIN / 2
        while self.now < until:
            for driver in (self.master_driver, *(each.driver for each in self.connected())):
                driver.step(0.0)
            self._run_later()
            self.master.check_invariants()
            self.now += 0.04
            self.replace_the_dead()


BLOCK = 25
SEED = os.environ.get("PALM_SEED")
COUNT = int(os.environ.get("PALM_SIMULATIONS", "150"))


def run(seed: int, steps: int, workers: int, clients: int) -> Simulation:
    """Let a cluster live for a while, then end well."""
    simulation = Simulation(seed, workers=workers, clients=clients)
    for _ in range(steps):
        simulation.step()
    simulation.finish()
    return simulation


@pytest.mark.parametrize("start", [int(SEED)] if SEED else range(0, COUNT, BLOCK))
def test_every_message_has_exactly_one_outcome(start: int) -> None:
    executions = messages = 0
    for seed in range(start, start + (1 if SEED else BLOCK)):
        try:
            simulation = run(seed, STEPS, 1 + seed % 4, 1 + seed % 3)
        except BaseException as error:
            error.add_note(f"replay: PALM_SEED={seed} pytest {__file__}")
            raise
        executions += simulation.executions
        messages += simulation.messages
    assert messages
    assert executions


@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(1, 2))
@settings(max_examples=25, deadline=None)
def test_connections_that_break_cost_no_message_its_result(
    seed: int, workers: int, clients: int
) -> None:
    simulation = Unsteady(seed, workers=workers, clients=clients)
    for _ in range(STEPS):
        simulation.step()
    simulation.finish()


@given(st.integers(0, 1 << 32), st.integers(0, 400), st.integers(1, 5), st.integers(1, 4))
@example(seed=0, steps=2000, workers=3, clients=3)
@settings(max_examples=40, deadline=None)
def test_any_cluster_ends_with_nothing_under_way(
    seed: int, steps: int, workers: int, clients: int
) -> None:
    run(seed, steps, workers, clients)
