"""The client: sends jobs to a master and brings their results back."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from logging import INFO
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from palm.clients.connection import Connection
from palm.clients.durable import DurableJobs, key_of, rest_of, total_of
from palm.clients.feeder import Feeder
from palm.clients.job import Job, check_errors
from palm.clients.keys import Keys
from palm.clients.links import Links, Place
from palm.clients.questions import Questions
from palm.clients.routes import function_of, route_of
from palm.clients.running import RunningJobs
from palm.clients.source import Source
from palm.clients.terms import terms_of
from palm.errors import (
    Cancelled,
    ConfigError,
    ConnectTimeout,
    DeadlineExceeded,
    JobError,
    PalmError,
)
from palm.protocol import events
from palm.runtime.cache import Cache
from palm.runtime.logs import CLIENT_FORMAT, is_interactive, new_logger
from palm.runtime.shared import SharedValues
from palm.spec.endpoint import parse_address
from palm.spec.names import check_name
from palm.wire.batch import Batch, Buffer
from palm.wire.message import Route, Terms

if TYPE_CHECKING:
    import pandas as pd

    from palm.clients.executor import ClientExecutor
    from palm.clients.sharded import Shards

__all__ = ["Client", "Place"]

#: Seconds that a feeder has to notice that its job is over.
FEEDER_GRACE: Final = 1.0

#: Seconds that the garbage collector, or the end of the process, waits for a goodbye.
FINALIZE_WITHIN: Final = 0.5


class Client:
    """Talks to a master, or to several as one; it never blocks before results are wanted.

    Parameters
    ----------
    server_name
        The name of the master; of several that share each job, a list of their names.
    db_address, push_address, sub_address
        An address of the master; the first given decides, whatever the name. Without one the
        master is found by its name. In a pipeline, ``sub_address`` is that of the stage whose
        results are wanted, or its name; those of others are left out.
    session
        A prefix for the keys of `cache`, `set`, `get` and `delete`.
    logging_level
        As in `logging`; under IPython only warnings are shown.
    connect_timeout
        Seconds that a job waits for a master before it fails with `ConnectTimeout`.
    """

    def __init__(
        self,
        server_name: str | Sequence[str],
        db_address: str | None = None,
        push_address: str | None = None,
        sub_address: str | None = None,
        session: str | None = None,
        logging_level: int = INFO,
        this_config: bool = False,
        *,
        connect_timeout: float = 60.0,
        on_interrupt: str = "cancel",
        _place: Place | None = None,
    ) -> None:
        if on_interrupt != "cancel":
            raise ConfigError(f"on_interrupt={on_interrupt!r} is not supported by this version")
        names = [server_name] if isinstance(server_name, str) else list(server_name)
        self.server_name = "+".join(map(check_name, names))
        self._is_sharded = len(names) > 1
        self.uuid = str(uuid4())
        self.session = session
        self.logger = new_logger("palm.client", logging_level, CLIENT_FORMAT)
        self._closed = False
        self._executors: weakref.WeakSet[ClientExecutor] = weakref.WeakSet()
        stage = parse_address(sub_address) if sub_address else ""
        if self._is_sharded and (db_address or push_address or sub_address):
            raise ConfigError("an address of several masters", hint="names only, or one master")
        if len(set(names)) != len(names) or not names:
            raise ConfigError(f"masters {names}", hint="one or more names, each once")
        known = db_address or push_address or (sub_address if stage != sub_address else "")
        target = parse_address(known or names[0])
        self._only = sub_address or ""
        self._values = SharedValues(self._wait_for)
        #: The values that are kept at the master, as a mapping.
        self.cache = Cache(self._values, self._key(""))
        self._questions = Questions(self._post)
        self._durable = DurableJobs(self.server_name, self._questions, self.logger)
        self._running = RunningJobs(
            self.server_name, self.uuid, self._values, self._questions, self.logger
        )
        links = Links(_place or Place.here(), self.uuid, connect_timeout, self.logger)
        perform, idle = self._running.handlers(), self._running.idle()
        self._connection: Connection | Shards
        if self._is_sharded:
            self._connection = links.to_masters(names, perform, idle)
        else:
            self._connection = links.to_master(target, self.server_name, perform, idle)
        self._running.keep_in(self._connection.active)
        self._session_log()
        self._connection.start()
        self._finalizer = weakref.finalize(
            self, _close_connection, self._connection, FINALIZE_WITHIN
        )

    # Jobs

    @property
    def jobs(self) -> list[Job]:
        """The last 16 jobs, the latest last."""
        return self._running.recent

    def job(
        self,
        function: str | Sequence[str | Sequence[str]],
        items: Iterable[Any],
        messages: int | None = None,
        cache: str = "",
        *,
        ordered: bool = False,
        errors: str = "raise",
        timeout: float | None = None,
        deadline: float | None = None,
        retries: int = 0,
        retry_on: tuple[type[BaseException], ...] = (),
        key: Any = None,
        priority: int = 0,
        at_most_once: bool = False,
        durable: bool = False,
        detach: bool = False,
    ) -> Job:
        """Call ``function`` with each of ``items``; the job starts at once.

        Each message has exactly one outcome. Its function may run more than once: when a worker
        dies, others do its work again, unless it may run ``at_most_once``.

        Parameters
        ----------
        function
            ``server.name``, or the bare name. For a pipeline a list with one for each component
            on the way, in order; where several components are one stage, a list of theirs.
        items
            Any iterable, also an infinite one; of a DataFrame each row as a dict, of a Series
            each value.
        messages
            End after so many results or failures (None: when each item has its outcome). Of a
            source that does not end, no more is taken than that needs.
        cache
            A text that goes with the messages, for hooks (`palm.Message.cache`).
        ordered
            Results in the order of the items, not as they come.
        errors
            What a failed message is when the job is iterated: ``raise`` its error (and `next`
            may go on), ``return`` it in place of a result, or ``coerce`` it to None.
        timeout
            Seconds that the call for one message may take; `DeadlineExceeded` is the outcome of
            one that takes longer.
        deadline
            Seconds from now that the job may take. What has no outcome by then gets
            `DeadlineExceeded`; of a source whose length is not known nothing more is taken.
        retries, retry_on
            Further tries of a message whose function raised - one of ``retry_on``, if classes
            are given. The first comes after 0.1 s, each later one after twice that, up to 10 s.
        key
            The name of a column or attribute, a function of the item, or a sequence: messages of
            equal keys are leased in order, one batch at a time. A key that cannot be found, or
            has no hash, is the error of its message.
        priority
            Of two jobs for the same worker, the one with the higher number is served first; jobs
            of the same priority take turns.
        at_most_once
            A message that may have begun when its worker, or the master, was lost is not run
            again; its outcome is `WorkerLost` or `MasterLost`.
        durable
            Messages and outcomes are on the master's disk before they count. The job belongs to
            the master: it goes on when this client, or the master, dies, and whoever knows its
            id has all of its outcomes by `resume`, for a week after the last client has gone.
        detach
            The same, but nobody waits for the disk: a crash of the machine, not of palm, may
            lose the last of it.

        Raises
        ------
        ConfigError
            An option has a value that cannot be used.
        """
        if messages is not None and messages < 0:
            raise ConfigError(f"messages={messages}", hint="not negative, or None")
        terms = terms_of(
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            retry_on=retry_on,
            priority=priority,
            at_most_once=at_most_once,
            durable=durable,
            detach=detach,
        )
        if self._is_sharded:
            from palm.clients.sharded import check_job  # for few

            check_job(function, terms, key)
        source = Source(items)
        function = function_of(function)
        route = route_of(cache, self._only)
        job = self._new_job(
            function, source, messages, terms, errors=errors, ordered=ordered, route=route
        )
        keys = None if key is None else Keys(key, job._total)
        feeder = Feeder(job, source, self._connection.post, self._connection.wake, keys)
        self._running.add(job, feeder)
        if terms is not None and terms.deadline:
            self._post(events.Opened(job.key, function, terms))
        if source.size == 1 and source.is_at_hand and keys is None:
            feeder.run_at_once()
        else:
            feeder.start()
        return job

    def eval(
        self,
        function: str | Sequence[str | Sequence[str]],
        payload: Any,
        messages: int = 1,
        cache: str = "",
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call ``function`` once and return its result; a list of so many when ``messages`` > 1.

        Of a function with several results it is the first one, or as many of them; where there
        are fewer, it is called again. None stands for no result at all.

        Raises
        ------
        TaskError
            The function raised.
        DeadlineExceeded
            It did not return within ``timeout`` seconds; it is cancelled.
        """
        if messages < 1:
            raise ConfigError(f"messages={messages}", hint="a positive number")
        until = None if timeout is None else time.monotonic() + timeout
        results: list[Any] = []
        while len(results) < messages:
            found = self._call(function, payload, messages - len(results), cache, timeout, until)
            if not found:
                break
            results += found
        if messages > 1:
            return results
        return results[0] if results else None

    def _call(
        self,
        function: str | Sequence[str | Sequence[str]],
        payload: Any,
        messages: int,
        cache: str,
        timeout: float | None,
        until: float | None,
    ) -> list[Any]:
        """Return up to ``messages`` results of one call that ends before ``until``."""
        job = self.job(function, [payload], messages, cache, ordered=True)
        done = job.wait(None if until is None else max(0.0, until - time.monotonic()))
        if not done and until is not None and job.state in ("running", "paused"):
            job.cancel()
            raise DeadlineExceeded(f"no result within {timeout:g} s", function=job.function)
        results = list(job)
        if not done and job.state == "cancelled":
            raise Cancelled("the client was closed", function=job.function)
        return results

    def executor(self, function: str | None = None, **options: Any) -> ClientExecutor:
        """Return a `concurrent.futures.Executor` whose calls workers make.

        It takes callables, which go to workers of ``palm.executors``, and names of functions.

        Parameters
        ----------
        function
            Who calls callables; None: ``call`` of ``palm.executors``.
        options
            Of each call, as of `job`: ``timeout``, ``deadline``, ``retries``, ``retry_on``,
            ``priority``, ``at_most_once``.

        Raises
        ------
        ConfigError
            There is no such option, or it has a value that cannot be used.
        """
        from palm.clients import executor  # for those who use it

        made = executor.make(self, function, options)
        self._executors.add(made)
        return made

    def resume(
        self,
        job: str,
        items: Iterable[Any] | Callable[[int], Iterable[Any]] | None = None,
        *,
        ordered: bool = False,
        errors: str = "raise",
        key: Any = None,
    ) -> Job:
        """Return a durable job of an earlier client, or of this one, with all its outcomes.

        Whoever has the job loses it to this one.

        Parameters
        ----------
        job
            Its id; see `durable_jobs`.
        items
            The items of the job again, from the first on: those that the master has accepted
            (`Job.accepted`) are skipped. Or a function that is given their number and returns
            the items that follow. Without, the job ends with those.
        ordered, errors, key
            As of `job`.

        Raises
        ------
        JobError
            The master has no such job.
        ConnectTimeout
            There is no master.
        """
        id_ = key_of(job)
        whole = Source(items) if items is not None and not callable(items) else None
        check_errors(errors)
        keys = None if key is None else Keys(key, None if whole is None else whole.size)
        self._let_go(id_)
        known = self._journal().take(id_)
        first = known.accepted
        rest = Source(() if items is None or known.closed else rest_of(items, first))
        total = total_of(first, rest) if whole is None else whole.size
        resumed = Job(
            known.job,
            f"{self.server_name}.{known.function}",
            errors=errors,
            ordered=ordered,
            total=first if known.closed else total,
            index=None if whole is None else whole.index,
            terms=known.terms,
            cancel=self._cancel,
            make_room=self._make_room,
            logger=self.logger,
        )
        resumed.inherit(first)
        feeder = Feeder(resumed, rest, self._connection.post, self._connection.wake, keys, first)
        self._running.add(resumed, feeder)
        remaining = max(known.terms.deadline - known.age, 0.0)
        self._post(
            events.Resumed(known.job, resumed.function, known.terms, first, known.closed, remaining)
        )
        if known.closed:
            resumed.exhausted(first, None)
        else:
            feeder.start()
        return resumed

    def durable_jobs(self) -> pd.DataFrame:
        """Return the jobs in the master's journal, the latest first.

        Columns: ``job`` (its id), ``function``, ``state`` (``running``, ``done``, or ``open``:
        its client may send more), ``accepted`` messages, those ``done`` and those ``failed``,
        ``began``, ``client``, and ``attached`` (a client has it now).
        """
        from palm.clients import frame  # pandas: not for those who don't ask for a frame

        return frame.durable_jobs(self._journal().all())

    def wait_for_workers(self, n: int = 1, timeout: float | None = None) -> int:
        """Wait until ``n`` workers are with the master; return how many there are.

        Raises
        ------
        ConnectTimeout
            They are not there within ``timeout`` seconds, or there is no master.
        """
        if n < 1:
            raise ConfigError(f"n={n}", hint="a positive number")
        answer = self._questions.ask(workers=n, timeout=timeout)
        if answer is None:
            text = f"'{self.server_name}' has fewer than {n} workers after {timeout:g} s"
            raise ConnectTimeout(text, name=self.server_name)
        return answer.workers

    def send_packed(self, function: str, codec: int, payload: Buffer) -> Job:
        """Call ``function`` with one payload that was packed before; it is not looked into here.

        This is how dead letters are sent again.
        """
        job = self._new_job(function, Source([None]), None, None, errors="raise", ordered=False)
        feeder = Feeder(job, (), self._connection.post, self._connection.wake)
        self._running.add(job, feeder)
        batch = Batch.pack([payload])
        job.submitted(1, batch.size)
        self._post(events.Submitted(job.key, 0, batch, function, codec, True))
        job.exhausted(1, None)
        return job

    # Shared values

    def set(self, value: Any, key: str | None = None) -> str:
        """Keep a value at the master; return its key, a new one if none is given."""
        key = uuid4().hex if key is None else key
        self._values.set(value, self._key(key))
        return key

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value that is kept at the master, or ``default``."""
        return self._values.get(self._key(key), default)

    def delete(self, key: str) -> bool:
        """Delete a value at the master; return whether it was there."""
        return self._values.delete(self._key(key))

    # Its end

    def close(self) -> None:
        """Cancel what runs and say goodbye; harmless when done before.

        Durable jobs go on without us. Of one with a known number of items, all are handed over
        before.
        """
        if self._closed:
            return
        active = self._running.all
        for job, feeder in active:
            if job.journaled:
                self._hand_over(job, feeder)
        self._closed = True
        for executor in list(self._executors):
            executor.shutdown(wait=False)
        for job, feeder in active:
            if not job.journaled:
                job.cancel()
            feeder.join(FEEDER_GRACE)
        self._finalizer.detach()
        self._connection.close()
        closed = PalmError("this client is closed")
        self._values.close(closed)
        self._questions.close(closed)

    def clean(self) -> None:
        """Close it: the name that `close` had in pylm."""
        self.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of '{self.server_name}'>"

    # Inside

    def _hand_over(self, job: Job, feeder: Feeder) -> None:
        """Leave a job to its master."""
        if job.is_sized:
            job.wait_accepted(whole=True)
        feeder.leave()
        text = f"this client is closed; the job goes on: resume('{job.id}') has its outcomes"
        job.fail(PalmError(text))

    def _let_go(self, key: bytes) -> None:
        """Lose a job to one that goes on with it; all that was sent of it is accepted by then."""
        found = self._running.find(key)
        if found is not None and found[0].journaled:
            job, feeder = found
            feeder.leave()
            job.wait_accepted(whole=False)
            job.fail(JobError(f"job {job.id} was resumed by its own client"))

    def _journal(self) -> DurableJobs:
        if self._closed:
            raise PalmError("this client is closed")
        if self._is_sharded:
            raise ConfigError("durable jobs of several masters", hint="ask each: Client(NAME)")
        return self._durable

    def _make_room(self, key: bytes, position: int) -> None:
        self._post(events.RoomMade(key, position))

    def _session_log(self) -> None:
        if not is_interactive():
            self.logger.info("Fetching configuration from the server")
            self.logger.info("CLIENT %s of %s", self.uuid, self.server_name)

    def _new_job(
        self,
        function: str,
        source: Source,
        messages: int | None,
        terms: Terms | None,
        *,
        errors: str,
        ordered: bool,
        route: Route | None = None,
    ) -> Job:
        if self._closed:
            raise PalmError("this client is closed")
        total = source.size
        if messages is not None:
            total = messages if total is None else min(messages, total)
            if source.size is None:
                total = None
        return Job(
            os.urandom(8),
            function,
            errors=errors,
            ordered=ordered,
            total=total,
            index=source.index,
            terms=terms,
            route=route,
            limit=messages,
            cancel=self._cancel,
            make_room=self._make_room,
            logger=self.logger,
        )

    def _cancel(self, key: bytes, journaled: bool) -> None:
        self._running.drop(key)
        self._post(events.Cancelled(key, journaled))

    def _post(self, event: events.Event) -> None:
        self._connection.post(event)

    def _wait_for(self, event: events.Event, done: threading.Event) -> None:
        if self._closed:
            raise PalmError("this client is closed")
        self._post(event)
        done.wait()

    def _key(self, key: str) -> str:
        return f"{self.session}/{key}" if self.session else key


def _close_connection(connection: Connection | Shards, within: float) -> None:
    connection.close(within)
