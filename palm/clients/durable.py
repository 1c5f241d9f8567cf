"""Durable jobs: what their master knows of them, and how one goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from palm.clients.questions import Questions
from palm.clients.source import Source
from palm.errors import ConfigError, JobError
from palm.wire.message import MAX_ID, Journaled

__all__ = ["DurableJobs", "key_of", "rest_of", "total_of"]


class DurableJobs:
    """The jobs in the journal of a master; of which one, ``name`` says."""

    def __init__(self, name: str, questions: Questions, logger: logging.Logger) -> None:
        self._name = name
        self._questions = questions
        self._logger = logger

    def all(self) -> list[Journaled]:
        """Return those that the master tells of, the latest first."""
        return self._ask(b"")

    def take(self, key: bytes) -> Journaled:
        """Take one, and return what the master knows of it; JobError if there is none."""
        for known in self._ask(key, take=True):
            return known
        hint = "see durable_jobs()"
        raise JobError(f"'{self._name}' has no durable job {key.hex()} ({hint})")

    def _ask(self, job: bytes, *, take: bool = False) -> list[Journaled]:
        answer = self._questions.ask(job=job, take=take)
        if answer is None:
            return []
        if answer.left_out:
            self._logger.warning("%d older durable jobs are not listed", answer.left_out)
        return answer.jobs


def key_of(job: str) -> bytes:
    """Return the key of a job that is given by its id."""
    try:
        key = bytes.fromhex(job)
    except (ValueError, TypeError):
        key = b""
    if not 0 < len(key) <= MAX_ID:  # none would mean any
        raise ConfigError(f"{job!r} is no id of a job", hint="as Job.id gives it")
    return key


def rest_of(items: Iterable[Any] | Callable[[int], Iterable[Any]], first: int) -> Iterable[Any]:
    """Return the items that follow the first ones."""
    if callable(items):
        return items(first)
    return islice(iter(Source(items)), first, None)


def total_of(first: int, rest: Source) -> int | None:
    """Return how many items there are with the first ones, None if that is not known."""
    return None if rest.size is None else first + rest.size
