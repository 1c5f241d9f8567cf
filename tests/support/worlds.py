"""Kinds of cluster to simulate, each from a seed."""

from __future__ import annotations

from typing import Final

from palm.protocol.sessions import RETURN_WITHIN
from tests.support.simulation import Simulation

__all__ = [
    "STEPS",
    "Partitioned",
    "Restless",
    "Unsteady",
    "run",
    "run_partitioned",
    "run_restless",
    "run_seed",
    "run_unsteady",
]

#: What happens before the end of one, unless said otherwise.
STEPS: Final = 300

#: The same, where each step may be a fault for all.
UNSTEADY_STEPS: Final = 60


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


class Restless(Simulation):
    """A cluster whose master is started again and again, while its connections break."""

    def _pass_time(self) -> None:
        self.now += self.random.choice((0.001, 0.01, 0.1))

    def _fault(self) -> None:
        if self.random.random() < 0.3:
            self.restart_master()
        else:
            self.random.choice(self.connected()).break_link()


class Partitioned(Simulation):
    """A cluster whose network lets nothing through at times, in one direction or in both.

    Heartbeats notice, and the connection breaks, unless it is over before.
    """

    def _fault(self) -> None:
        if self.random.random() < 0.3:
            super()._fault()
            return
        each = self.random.choice(self.connected())
        end = self.random.choice((each.heal, each.break_link, None))
        if end is None:
            deaf, mute = self.random.choice(((True, False), (False, True), (True, True)))
            each.partition(deaf=deaf, mute=mute)
        else:
            end()

    def finish(self) -> None:
        for each in self.connected():
            self.random.choice((each.heal, each.break_link))()
        super().finish()


def run(seed: int, steps: int, workers: int, clients: int) -> Simulation:
    """Let a cluster live for a while, then end well."""
    simulation = Simulation(seed, workers=workers, clients=clients)
    _run(simulation, steps)
    return simulation


def run_seed(seed: int) -> Simulation:
    """Run a cluster whose size comes from the seed, too."""
    return run(seed, STEPS, 1 + seed % 4, 1 + seed % 3)


def run_unsteady(seed: int) -> None:
    """Run one whose connections break again and again."""
    _run(Unsteady(seed, workers=1 + seed % 3, clients=1 + seed % 2), UNSTEADY_STEPS)


def run_restless(seed: int) -> None:
    """Run one whose master is started again and again."""
    _run(Restless(seed, workers=1 + seed % 3, clients=1 + seed % 2), STEPS)


def run_partitioned(seed: int) -> None:
    """Run one whose network is parted again and again."""
    _run(Partitioned(seed, workers=1 + seed % 3, clients=1 + seed % 2), STEPS)


def _run(simulation: Simulation, steps: int) -> None:
    for _ in range(steps):
        simulation.step()
    simulation.finish()
