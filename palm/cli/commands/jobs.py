"""``palm jobs``."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterable
from logging import ERROR
from typing import Any, Final

from palm.cli.attach import attached
from palm.cli.failures import (
    FAILED,
    NO_SUCH_NAME,
    NOT_READY,
    OK,
    CommandFailed,
    no_such_name,
)
from palm.cli.tables import duration, show_table
from palm.clients import Client
from palm.errors import ConnectTimeout, JobError
from palm.runtime.folders import Folders, journal_path
from palm.runtime.records import live_records

__all__ = ["run"]

_HEAD = ("ID", "FUNCTION", "STATE", "ACCEPTED", "DONE", "FAILED", "AGE", "CLIENT", "ATTACHED")
_NUMBERS = ("ACCEPTED", "DONE", "FAILED")

#: How often a job is cancelled until its master knows nothing of it: what was sent may be lost
#: with a connection.
TRIES: Final = 5


def run(arguments: Namespace) -> int:
    """Show or end the jobs in the journals of masters."""
    masters = _Masters(Folders.find())
    if arguments.action == "list":
        return _list(masters, arguments)
    return _cancel(masters, arguments)


class _Masters:
    """The masters of a cluster: those that run, and those of which there is a journal only."""

    def __init__(self, folders: Folders) -> None:
        self.cluster = folders.cluster
        self.running = [each.name for each in live_records(folders) if each.role == "master"]
        journals = journal_path(folders, "any").parent.glob("*.db")
        self.idle = sorted({path.stem for path in journals} - set(self.running))

    def chosen(self, name: str | None) -> list[str]:
        """Return those to ask: the one of this name, or all that run."""
        if name is None or name in self.running:
            return self.running if name is None else [name]
        if name in self.idle:
            raise CommandFailed(self.ways_out([name])[0], FAILED)
        raise no_such_name(name, [*self.running, *self.idle], self.cluster, what="master")

    def ways_out(self, idle: Iterable[str]) -> list[str]:
        """Say, a line for each, how to get at the jobs of masters that do not run."""
        declared = self._declared() if idle else set()
        return [
            f"{name} does not run, and has a journal: to go on with its jobs, "
            + (f"palm restart {name}" if name in declared else f"palm master --name {name} -d")
            for name in idle
        ]

    def _declared(self) -> set[str]:
        """Return the components that can be started again as they were."""
        with attached() as cluster:
            return set() if cluster is None else {component.name for component in cluster}


# Showing


def _list(masters: _Masters, arguments: Namespace) -> int:
    jobs: list[dict[str, Any]] = []
    silent = []
    for master in masters.chosen(arguments.master):
        try:
            jobs += _jobs(master, arguments.timeout)
        except ConnectTimeout as error:
            if arguments.master:
                raise _unanswered([master], arguments.timeout) from error
            silent.append(master)
    idle = [] if arguments.master else masters.idle
    if arguments.json:
        found = {"cluster": masters.cluster, "jobs": jobs, "not_running": idle}
        print(json.dumps(found))
    else:
        _show(jobs, arguments.master, masters.cluster)
        for line in masters.ways_out(idle):
            print(line)
    if silent:
        raise _unanswered(silent, arguments.timeout)
    return OK


def _jobs(master: str, timeout: float) -> list[dict[str, Any]]:
    with _client(master, timeout) as client:
        frame = client.durable_jobs()
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    return [
        {"id": row.pop("job"), "master": master, **row, "began": row["began"].timestamp()}
        for row in rows
    ]


def _show(jobs: list[dict[str, Any]], master: str | None, cluster: str) -> None:
    if jobs:
        now = time.time()
        show_table(_HEAD, [_row(job, now) for job in jobs], _NUMBERS)
    else:
        where = f"at {master!r}" if master else f"in cluster {cluster!r}"
        print(f"no durable jobs {where}")


def _row(job: dict[str, Any], now: float) -> tuple[str, ...]:
    counts = (f"{job[name]:,}" for name in ("accepted", "done", "failed"))
    function = f"{job['master']}.{job['function']}"
    age, attached_ = duration(now - job["began"]), "yes" if job["attached"] else "no"
    return (job["id"], function, job["state"], *counts, age, job["client"], attached_)


# Ending


def _cancel(masters: _Masters, arguments: Namespace) -> int:
    left = list(dict.fromkeys(arguments.ids))
    told = []
    for master in masters.chosen(arguments.master):
        with _client(master, arguments.timeout) as client:
            try:
                ended = [name for name in left if _end(client, name)]
            except ConnectTimeout as error:
                raise _unanswered([master], arguments.timeout) from error
        left = [name for name in left if name not in ended]
        told += [{"id": name, "master": master, "state": "cancelled"} for name in ended]
    if arguments.json:
        print(json.dumps({"cluster": masters.cluster, "jobs": told}))
    else:
        for each in told:
            print(f"{each['id']}: cancelled")
    if left:
        raise _unknown(left, masters, arguments.master)
    return OK


def _end(client: Client, name: str) -> bool:
    """Have a job forgotten; False: its master knows nothing of it."""
    if not _is_id(name):
        return False
    for tried in range(TRIES):
        try:
            job = client.resume(name)  # takes it from whoever has it: others cannot end it
        except JobError:
            return tried > 0
        job.cancel()
    raise CommandFailed(f"job {name} cannot be cancelled", FAILED)


def _is_id(name: str) -> bool:
    try:
        return bool(bytes.fromhex(name))
    except ValueError:
        return False


def _unknown(names: list[str], masters: _Masters, master: str | None) -> CommandFailed:
    where = f"at {master!r}" if master else f"in cluster {masters.cluster!r}"
    lines = [f"no durable job {', '.join(map(repr, names))} {where}"]
    if not master:
        lines += masters.ways_out(masters.idle)
    return CommandFailed("\n".join(lines), NO_SUCH_NAME)


# Both


def _client(master: str, timeout: float) -> Client:
    return Client(master, logging_level=ERROR, connect_timeout=timeout)


def _unanswered(masters: list[str], timeout: float) -> CommandFailed:
    return CommandFailed(f"no answer from {', '.join(masters)} within {timeout:g} s", NOT_READY)
