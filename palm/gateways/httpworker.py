"""A worker whose functions are behind a URL: each lease is posted to where they run.

What becomes of a message when the server does not answer is in `palm.gateways.posting`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from logging import INFO
from math import inf, isfinite
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from palm.errors import AuthenticationError, ConfigError, PalmError
from palm.gateways.access import check_token, read_token
from palm.gateways.post import Poster, PostFailed, Target
from palm.gateways.posting import FIRST_PAUSE, Lost, Manner, Posts, jittered
from palm.runtime.component import Component
from palm.runtime.functions import FunctionTable
from palm.runtime.guard import Runs
from palm.runtime.limits import TimeLimit
from palm.servers import Worker
from palm.spec.names import check_name

__all__ = ["HttpWorker"]

#: Seconds for which a worker steps back, at least; it looks whether the server answers again after
#: twice as long each time.
STEP_BACK: Final = 0.5
LONGEST_STEP: Final = 10.0

#: Seconds in which a server must say what it serves, or that it is well.
ASK_WITHIN: Final = 5.0

#: Seconds beyond its grace that a post which goes on is left before it is cut off.
CUT_AFTER: Final = 0.2

MAX_POOL: Final = 256


class HttpWorker(Component):
    """Serves a master with functions that an HTTP server runs.

    Its functions are those of `palm.gateways.wsgi_app` or `asgi_app`. To the master it is ``pool``
    workers, each of which has one post under way at a time.

    Parameters
    ----------
    name
        Its own; the workers are called NAME, NAME-1 and so on.
    master
        The name or an address of the master; see `palm.servers.Worker`.
    url
        Of the application, as ``http://host:port``.
    functions
        Names of those to serve (None: all that the application has).
    pool
        Posts that may be under way at once.
    retries, timeout
        Further tries of a post that failed, and the seconds that the answer to one may take: longer
        than any call.
    token_file, token
        A file with the token that the application wants, or the token.
    allow_pickle
        The server is trusted: pickles are sent to it, and taken from it for the callers.
    """

    role: ClassVar[str] = "worker"

    def __init__(
        self,
        name: str = "",
        master: str | None = None,
        url: str = "",
        functions: Sequence[str] | None = None,
        pool: int = 4,
        retries: int = 3,
        timeout: float = 30.0,
        token_file: str | os.PathLike[str] | None = None,
        allow_pickle: bool = False,
        *,
        token: str | None = None,
        log_level: int = INFO,
    ) -> None:
        super().__init__(name or f"http-{os.urandom(4).hex()}", log_level)
        if not 1 <= pool <= MAX_POOL:
            raise ConfigError(f"pool={pool}", key="pool", hint=f"1 to {MAX_POOL}")
        if retries < 0:
            raise ConfigError(f"retries={retries}", key="retries", hint="0 or more")
        if not (isfinite(timeout) and timeout > 0):
            raise ConfigError(f"timeout={timeout}", key="timeout", hint="a number of seconds")
        if token is not None:
            check_token(token)
        elif token_file is not None:
            token = read_token(Path(token_file))
        self._names = [self.name, *(check_name(f"{self.name}-{i}") for i in range(1, pool))]
        self._target = Target(url, token)
        self._master = master
        self._functions = None if functions is None else list(functions)
        self._manner = Manner(retries, timeout, allow_pickle)
        self._log_level = log_level
        self._lost = Lost()
        self._sessions: dict[str, _Session] = {}
        self._halted = threading.Event()
        self._grace = 0.0
        self._error: BaseException | None = None
        self._away: set[str] = set()

    @property
    def functions(self) -> list[str]:
        """The names of what it serves, once they are known."""
        return list(self._functions or ())

    def _open(self) -> None:
        if self._functions is not None:
            FunctionTable(dict.fromkeys(self._functions, _elsewhere))
            if not self._functions:
                raise ConfigError(f"worker '{self.name}' has nothing to serve", key="functions")
        if self._target.headers and not self._target.is_private:
            self.logger.warning(
                "the token can be read on its way to %s: use https", self._target.url
            )

    def _serve(self) -> None:
        if self._functions is None:
            self._functions = self._discover()
        threads = [
            threading.Thread(target=self._work, args=(name,), name=f"palm-http-{name}", daemon=True)
            for name in self._names
        ]
        for thread in threads:
            thread.start()
        while not self._halted.wait(0.5):
            pass  # the handler of a signal may have to be let in
        until = time.monotonic() + self._grace + CUT_AFTER
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        for session in list(self._sessions.values()):
            session.poster.abort()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _discover(self) -> list[str]:
        """Return what the application serves; wait until it says so."""
        poster = Poster(self._target)
        pause = FIRST_PAUSE
        try:
            while not self._halted.is_set():
                try:
                    return _names_in(poster.get("functions", ASK_WITHIN), self._target.url)
                except PostFailed as failed:
                    self._wait_for_it(failed, pause)
                    pause = min(2 * pause, LONGEST_STEP)
        finally:
            poster.close()
        return []

    def _wait_for_it(self, failed: PostFailed, pause: float) -> None:
        url = self._target.url
        if failed.denied:
            raise AuthenticationError(f"{url} does not let us in: {failed}") from failed
        if failed.status and not failed.again:
            raise ConfigError(
                f"{url}/functions: {failed}",
                key="url",
                hint="the address of an application of palm",
            ) from failed
        if pause == FIRST_PAUSE:
            self.logger.warning("%s does not answer yet (%s); waiting", url, failed)
        self._halted.wait(jittered(pause))

    # In the threads of its workers

    def _work(self, name: str) -> None:
        try:
            while not self._halted.is_set():
                session = self._sessions[name] = self._session(name)
                try:
                    session.open()
                    if self._halted.is_set():  # it may have been made too late to be asked
                        session.stop(self._grace)
                    session.serve()
                finally:
                    session.close()
                    session.poster.close()
                if session.reason:
                    self._step_back(name, session.reason)
        except BaseException as error:  # noqa: BLE001 - `_serve` raises it
            self._error = self._error or error
            self.stop(0.0)

    def _session(self, name: str) -> _Session:
        return _Session(
            name,
            self._master,
            dict.fromkeys(self._functions or (), _elsewhere),
            self._log_level,
            Poster(self._target),
            self._manner,
            self._lost,
            self._halted,
        )

    def _step_back(self, name: str, reason: str) -> None:
        """Wait until the server answers: meanwhile others can do the work."""
        url = self._target.url
        if not self._away:
            self.logger.warning("%s: %s; stepping back until it answers", url, reason)
        self._away.add(name)
        poster = Poster(self._target)
        pause = STEP_BACK
        try:
            while not self._halted.wait(jittered(pause)):
                try:
                    poster.get("functions", ASK_WITHIN)
                    break
                except PostFailed:
                    pause = min(2 * pause, LONGEST_STEP)
        finally:
            poster.close()
        self._away.discard(name)
        if not (self._away or self._halted.is_set()):
            self.logger.info("%s answers again", url)

    # From any thread

    def _request_stop(self, grace: float) -> None:
        self._grace = grace
        self._halted.set()
        for session in list(self._sessions.values()):
            session.stop(grace)

    def _close(self) -> None:
        self._halted.set()


class _Session(Worker):
    """One of the workers: its calls are posts."""

    def __init__(
        self,
        name: str,
        master: str | None,
        functions: dict[str, Callable[[Any], Any]],
        log_level: int,
        poster: Poster,
        manner: Manner,
        lost: Lost,
        halted: threading.Event,
    ) -> None:
        super().__init__(name, master=master, functions=functions, log_level=log_level)
        self.poster = poster
        #: Why it gives back what it has.
        self.reason = ""
        self._posting = (poster, manner, lost, halted)

    def _make_executor(self, functions: FunctionTable, limit: TimeLimit) -> Runs:
        return Posts(*self._posting, self._give_back, self.logger)

    def _give_back(self, reason: str) -> None:
        """End: what it holds goes back to the master, as nothing of it has begun."""
        self.reason = reason
        self.stop(inf)


def _names_in(answer: bytes, url: str) -> list[str]:
    try:
        names = json.loads(answer)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{url}/functions does not say what is served", key="url")
    FunctionTable(dict.fromkeys(names, _elsewhere))
    return names


def _elsewhere(value: Any) -> NoReturn:
    raise PalmError("this function runs elsewhere")
