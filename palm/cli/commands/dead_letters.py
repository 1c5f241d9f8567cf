"""``palm dead-letters``."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from datetime import UTC, datetime
from logging import ERROR

import msgspec

from palm.cli.failures import FAILED, NO_SUCH_NAME, OK, CommandFailed
from palm.cli.tables import duration, show_table
from palm.clients import Client
from palm.clients.job import Job
from palm.errors import JobError, PalmError
from palm.runtime.deadletters import DeadLetters, Letter
from palm.runtime.folders import Folders

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Show, send again or delete messages that ended every worker that ran them."""
    folders = Folders.find()
    letters = DeadLetters.of(folders)
    if arguments.action == "list":
        return _list(letters, folders.cluster, as_json=arguments.json)
    chosen = _chosen(letters, arguments, folders.cluster)
    if arguments.action == "remove":
        for letter in chosen:
            letters.remove(letter.id)
        _tell([{"id": letter.id, "state": "removed"} for letter in chosen], arguments.json)
        return OK
    return _replay(letters, chosen, arguments)


def _list(letters: DeadLetters, cluster: str, *, as_json: bool) -> int:
    found = letters.letters()
    if as_json:
        print(json.dumps({"cluster": cluster, "letters": msgspec.to_builtins(found)}))
    elif not found:
        print(f"no dead letters in cluster {cluster!r}")
    else:
        now = time.time()
        head = ("ID", "AGE", "FUNCTION", "MESSAGE", "ATTEMPTS", "BYTES", "ERROR")
        show_table(head, [_row(letter, now) for letter in found], {"ATTEMPTS", "BYTES"})
    return OK


def _row(letter: Letter, now: float) -> tuple[str, ...]:
    function = f"{letter.master}.{letter.function}"
    message = f"{letter.index} of {letter.job}"
    age, size = duration(now - letter.time), f"{letter.size:,}"
    return (letter.id, age, function, message, str(letter.attempts), size, letter.text)


def _chosen(letters: DeadLetters, arguments: Namespace, cluster: str) -> list[Letter]:
    if arguments.all:
        return letters.letters()
    chosen = []
    for name in dict.fromkeys(arguments.ids):
        letter = letters.find(name)
        if letter is None:
            raise CommandFailed(f"no dead letter {name!r} in cluster {cluster!r}", NO_SUCH_NAME)
        chosen.append(letter)
    return chosen


def _replay(letters: DeadLetters, chosen: list[Letter], arguments: Namespace) -> int:
    """Send messages again, each to its function; those that have a result by now are deleted."""
    told = []
    for letter in chosen:
        timeout = arguments.timeout
        with Client(letter.master, logging_level=ERROR, connect_timeout=timeout) as client:
            job = client.send_packed(
                f"{letter.master}.{letter.function}", letter.codec, letters.payload(letter)
            )
            told.append({"id": letter.id, **_outcome(job, timeout)})
        if told[-1]["state"] == "done":
            letters.remove(letter.id)
    _tell(told, arguments.json)
    return OK if all(each["state"] == "done" for each in told) else FAILED


def _outcome(job: Job, timeout: float) -> dict[str, str]:
    try:
        if not job.wait(timeout) and job.state in ("running", "paused"):
            return {"state": "failed", "error": f"no outcome within {timeout:g} s"}
        return {"state": "done", "result": repr(next(job))}
    except (JobError, PalmError) as error:
        return {"state": "failed", "error": getattr(error, "summary", str(error))}


def _tell(told: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        print(json.dumps({"time": now, "letters": told}))
        return
    for each in told:
        more = each.get("result") or each.get("error")
        print(f"{each['id']}: {each['state']}" + (f", {more}" if more else ""))
    if not told:
        print("no dead letters")
