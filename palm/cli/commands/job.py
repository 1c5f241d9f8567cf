"""``palm job``."""

from __future__ import annotations

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import IO, Any

from palm.cli.attach import present
from palm.cli.failures import FAILED, NO_SUCH_NAME, NOT_READY, OK, CommandFailed, no_such_name
from palm.cli.items import STDIN, Items
from palm.cli.progress import progress
from palm.cli.results import CsvRows, JsonLines, Output
from palm.clients import Client, Job
from palm.errors import ConfigError, ConnectTimeout, FunctionNotFound, JobError
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.spec.text import printable

__all__ = ["run"]

#: Roles that no client calls.
_NO_SERVERS = ("worker", "process")


def run(arguments: Namespace) -> int:
    """Call a function with each item, and write the results as they come."""
    server = _server(arguments.function)
    items = _items(arguments)
    with (
        _notes_on_stderr(),
        _opened(arguments.out) as file,
        Output(file) as out,
        Client(server, logging_level=logging.WARNING,
               connect_timeout=arguments.connect_timeout) as client,
    ):  # fmt: skip
        job = client.job(
            arguments.function,
            items,
            ordered=not arguments.unordered,
            errors="return",
            timeout=arguments.timeout,
            retries=arguments.retries,
            key=arguments.key,
        )
        return _Run(job, out, arguments).whole()


def _server(function: str) -> str:
    """Return the server of a function; one that is not there is told now, not in a minute."""
    server, dot, name = function.partition(".")
    if not (server and dot and name):
        hint = "SERVER.FUNCTION: palm status shows both"
        raise ConfigError(f"{function!r} is no function", hint=hint)
    running = {record.name: record for record in live_records(Folders.find())}
    if server in running:
        _check_role(running[server].role, server, running[server].master, name)
    else:  # it may be on another machine, or about to start
        _check_declared(server, name)
    return server


def _check_declared(server: str, name: str) -> None:
    status = present()
    found = {each.name: each for each in status.components}
    if server in found:
        _check_role(found[server].role, server, found[server].master, name)
        return
    known = [each.name for each in found.values() if each.role not in _NO_SERVERS]
    raise no_such_name(server, known, status.cluster, "server")


def _check_role(role: str, server: str, master: str, name: str) -> None:
    if role in _NO_SERVERS:
        hint = f"; call its master: {master}.{name}" if master else ""
        raise CommandFailed(f"{server} is a {role}, and takes no calls{hint}", NO_SUCH_NAME)


def _items(arguments: Namespace) -> Iterable[Any]:
    if not arguments.item:
        kind = "lines" if arguments.lines else arguments.format
        path = arguments.file or STDIN
        if path == STDIN and sys.stdin.isatty():
            print("palm: an item a line; Ctrl-D ends them", file=sys.stderr)
        return Items(path, kind)
    try:
        return [json.loads(text) for text in arguments.item]
    except ValueError as error:
        hint = "a text is in quotes of its own: --item '\"text\"'"
        raise ConfigError(f"--item: this is not JSON: {error}", hint=hint) from error


class _Notes(logging.Handler):
    """Puts the client's warnings where results are not, and above what shows the progress."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"palm: {printable(record.getMessage())}", file=sys.stderr, flush=True)


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    logger, notes = logging.getLogger("palm"), _Notes()
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)


@contextmanager
def _opened(path: str | None) -> Iterator[IO[bytes]]:
    """Open where results go; before anything is called, since it may not be possible."""
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    with file:
        yield file


class _Run:
    """One job, from its first result to what is said at its end."""

    def __init__(self, job: Job, out: Output, arguments: Namespace) -> None:
        self._job = job
        self._out = out
        self._errors = arguments.errors
        self._line: Callable[[Any], bytes] = (CsvRows() if arguments.csv else JsonLines()).line
        self._failed = 0
        # Results on the same terminal are all the progress that one needs.
        self._shows_progress = arguments.out is not None or not sys.stdout.isatty()

    def whole(self) -> int:
        """Write all results; return the exit code."""
        try:
            with progress(self._progress) if self._shows_progress else nullcontext():
                self._write()
        except KeyboardInterrupt:
            self._tell(f"interrupted: {self._count()}; the rest is cancelled")
            raise
        except ConnectTimeout as error:
            raise CommandFailed(str(error), NOT_READY) from error
        except BaseException:
            self._job.cancel()
            raise
        if self._failed:
            self._tell(self._count())
        return FAILED if self._failed else OK

    def _write(self) -> None:
        for value in self._job:
            if isinstance(value, JobError):
                self._take(value)
            else:
                self._out.write(self._line(value))

    def _take(self, error: JobError) -> None:
        """Treat an item that failed as was asked for."""
        self._failed += 1
        if isinstance(error, FunctionNotFound):  # so will all others
            raise CommandFailed(_summary(error), NO_SUCH_NAME)
        if self._errors == "raise":
            raise CommandFailed(f"item {_index(error)}: {printable(str(error))}", FAILED)
        if self._errors == "return":
            name, _, text = _summary(error).partition(": ")
            found = {"type": name, "text": text, "item": _index(error)}
            self._out.write(self._line({"error": found}))
        else:
            self._tell(f"item {_index(error)}: {_summary(error)}")

    def _count(self) -> str:
        done, failed, _, total, *_ = self._job.progress
        of = f" of {total:,}" if total is not None else ""
        items = "item" if (done if total is None else total) == 1 else "items"
        return f"{done:,}{of} {items} done" + (f", {failed:,} failed" if failed else "")

    def _progress(self) -> str:
        found = self._job.progress
        left = "" if found.remaining is None else f", {found.remaining:.0f} s left"
        return f"{self._count()}, {found.rate:,.0f}/s{left}"

    def _tell(self, text: str) -> None:
        print(f"palm: {text}", file=sys.stderr, flush=True)


def _index(error: JobError) -> int:
    """The number of an item, from 1 as lines are counted."""
    return int(getattr(error, "index", 0)) + 1


def _summary(error: JobError) -> str:
    text = getattr(error, "summary", "") or f"{type(error).__name__}: {error}"
    return " ".join(printable(text).split())
