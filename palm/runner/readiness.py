"""Knowing that a process is ready when it does not say so itself.

`look_for` makes, from a readiness rule ("tcp:PORT", "http:URL", "log:RE", "delay:SECONDS"), a
function that looks once; a `Probe` looks until the answer is yes.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from palm.errors import ConfigError
from palm.runner.spool import STREAMS, Spool, Stream

__all__ = ["Look", "Probe", "look_for"]

#: Seconds between two looks.
_EVERY = 0.05
#: Seconds for one answer from a port or a page.
_ANSWER = 1.0
#: Bytes of output looked at in one go.
_PART = 1024 * 1024
#: Bytes of an unfinished line that are looked at again with its rest.
_LINE = 64 * 1024

Look = Callable[[], bool]


def look_for(rule: str, spool: Spool, *, since: int | None = None) -> Look | None:
    """Return what looks whether a process is ready; None if it says so itself ("palm").

    Only output that is written from now on counts, or from the offset ``since`` on.

    Raises
    ------
    ConfigError
        There is no such rule.
    """
    kind, _, value = rule.partition(":")
    try:
        match kind:
            case "palm":
                return None
            case "delay":
                return _delay(float(value))
            case "tcp":
                return _tcp(int(value))
            case "http":
                return _http(value)
            case "log":
                return _log(re.compile(value.encode()), spool, since)
    except (ValueError, re.error) as error:
        raise ConfigError(f"{rule!r} is no way to be ready: {error}", key="ready") from error
    hint = "palm, tcp:PORT, http:URL, log:RE or delay:SECONDS"
    raise ConfigError(f"{rule!r} is no way to be ready", key="ready", hint=hint)


class Probe:
    """Looks, in a thread of its own, until the answer is yes, and calls back once."""

    def __init__(self, look: Look, on_ready: Callable[[], None]) -> None:
        self._look = look
        self._on_ready = on_ready
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="palm-probe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; an answer that is under way is dropped."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.is_set():
            if self._look():
                if not self._over.is_set():
                    self._on_ready()
                return
            self._over.wait(_EVERY)


def _delay(seconds: float) -> Look:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _tcp(port: int) -> Look:
    import socket  # few components are waited for like this

    def look() -> bool:
        with suppress(OSError), socket.create_connection(("localhost", port), _ANSWER):
            return True
        return False

    return look


def _http(url: str) -> Look:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL begins with http:// or https:// and a host")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host, port = parts.hostname, parts.port

    def look() -> bool:
        connection = kind(host, port, timeout=_ANSWER)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 400
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return look


def _log(pattern: re.Pattern[bytes], spool: Spool, since: int | None) -> Look:
    offsets: dict[Stream, int] = {
        stream: spool.size(stream) if since is None else since for stream in STREAMS
    }

    def look() -> bool:
        for stream in STREAMS:
            offset = offsets[stream] = max(offsets[stream], spool.begin(stream))
            data = spool.read(stream, offset, _PART)
            if any(pattern.search(line) for line in data.split(b"\n")):
                return True
            end = data.rfind(b"\n") + 1
            offsets[stream] += end or (len(data) if len(data) >= _LINE else 0)
        return False

    return look
