"""Every message has exactly one outcome, whatever order and whatever faults a seed thinks of.

``PALM_SIMULATIONS=5000`` runs more seeds, ``PALM_SEED=17`` one.
"""

from __future__ import annotations

import os

import pytest

from tests.support.simulation import Simulation

STEPS = 300
SEED = os.environ.get("PALM_SEED")
SEEDS = [int(SEED)] if SEED else range(int(os.environ.get("PALM_SIMULATIONS", "150")))


@pytest.mark.parametrize("start", SEEDS[::25] if not SEED else SEEDS)
def test_every_message_has_exactly_one_outcome(start: int) -> None:
    executions = messages = 0
    for seed in range(start, start + (1 if SEED else 25)):
        simulation = Simulation(seed, workers=1 + seed % 4, clients=1 + seed % 3)
        try:
            for _ in range(STEPS):
                simulation.step()
            simulation.finish()
        except BaseException as error:
            error.add_note(f"replay: PALM_SEED={seed} pytest {__file__}")
            raise
        executions += simulation.executions
        messages += sum(len(job.sent) for c in simulation.clients for job in c.jobs.values())
    assert messages
    assert executions
