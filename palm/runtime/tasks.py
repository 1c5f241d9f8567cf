"""What is being worked on: for functions that want to know which message they were called for."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from palm.errors import PalmError
from palm.protocol.effects import Invoke

__all__ = ["Task", "current_run", "current_task", "working_on"]


@dataclass(frozen=True, slots=True)
class Task:
    """The message that a function was called for.

    ``id`` is the same each time that the message is run, and no other message has it: it serves
    as the key of what must be done once. ``index`` is its position in the job, from 0, ``attempt``
    counts its starts, this one included.
    """

    id: str
    job: str
    index: int
    attempt: int


class Run(Protocol):
    """A run of the messages of a lease: ``results`` holds one of each that was called so far."""

    invoke: Invoke
    results: list[Any]


_here = threading.local()


def working_on(run: Run | None) -> None:
    """Note what this thread runs now."""
    _here.run = run


def current_run() -> Run:
    """Return what this thread runs.

    Raises
    ------
    PalmError
        It runs no function of a component.
    """
    run: Run | None = getattr(_here, "run", None)
    if run is None:
        raise PalmError("no message is being worked on in this thread")
    return run


def current_task() -> Task:
    """Return the message that the function which calls this was called for.

    Raises
    ------
    PalmError
        This thread runs no function of a component.
    """
    run = current_run()
    task = run.invoke.task
    index = task.first + run.invoke.start + len(run.results)
    job = task.job.hex()
    return Task(f"{task.session.hex()}-{job}-{index}", job, index, task.attempt)
