"""Every message has exactly one outcome, whatever order and whatever faults a seed thinks of.

``PALM_SIMULATIONS=5000`` runs more seeds, ``PALM_SEED=17`` one.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.worlds import STEPS, Unsteady, run, run_partitioned, run_restless, run_seed

BLOCK = 25
SEED = os.environ.get("PALM_SEED")
COUNT = int(os.environ.get("PALM_SIMULATIONS", "150"))


@pytest.mark.parametrize("start", [int(SEED)] if SEED else range(0, COUNT, BLOCK))
def test_every_message_has_exactly_one_outcome(start: int) -> None:
    executions = messages = 0
    for seed in range(start, start + (1 if SEED else BLOCK)):
        try:
            simulation = run_seed(seed)
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


@given(st.integers(0, 1 << 32))
@settings(max_examples=15, deadline=None)
def test_masters_that_are_started_again_and_again_lose_nothing(seed: int) -> None:
    run_restless(seed)


@given(st.integers(0, 1 << 32))
@settings(max_examples=15, deadline=None)
def test_networks_that_are_parted_in_one_direction_or_both_lose_nothing(seed: int) -> None:
    run_partitioned(seed)


@given(st.integers(0, 1 << 32), st.integers(0, 400), st.integers(1, 5), st.integers(1, 4))
@example(seed=0, steps=2000, workers=3, clients=3)
@example(seed=2, steps=206, workers=3, clients=2)  # a job came back to who had lost it
@settings(max_examples=40, deadline=None)
def test_any_cluster_ends_with_nothing_under_way(
    seed: int, steps: int, workers: int, clients: int
) -> None:
    run(seed, steps, workers, clients)
