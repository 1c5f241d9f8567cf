"""Running a registry until it is told to stop: the command of its module."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence

from palm.errors import ConfigError, PalmError
from palm_registry import restart
from palm_registry.app import Registry
from palm_registry.settings import Orders, parse
from palm_registry.store.backup import back_up

__all__ = ["main"]

#: Objects, and younger collections, after which Python looks for garbage. With its own numbers a
#: registry of a thousand nodes, whose requests wait, spent a third of its time on looking at them
#: again and again; with these a few megabytes more wait to be found.
_COLLECT_AFTER = (10_000, 20, 50)

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a registry; 0 when it was stopped, 1 when it could not start."""
    os.umask(0o077)  # the database makes files of its own
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _set_up_log()
        orders = parse(given, os.environ)
        if orders.check:
            return 0
        if orders.backup is not None:
            return _back_up(orders)
        gc.set_threshold(*_COLLECT_AFTER)
        sockets = asyncio.run(_run(orders, given))
    except PalmError as error:
        sys.stderr.write(f"palm registry: {error}\n")
        return 1
    if sockets:
        restart.replace(given, sockets)
    return 0


def _set_up_log() -> None:
    level = os.environ.get("PALM_LOG_LEVEL", "").strip().upper() or "INFO"
    if level not in _LEVELS:
        hint = f"one of {', '.join(_LEVELS)}"
        raise ConfigError(f"no such level: {level!r}", key="PALM_LOG_LEVEL", hint=hint)
    logging.basicConfig(
        stream=sys.stderr,
        format="%(asctime)s - registry - %(levelname)s - %(message)s",
        level=level,
    )
    # Anybody on the machine can send what makes no sense, as often as he likes.
    for name in ("tornado.general", "tornado.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _back_up(orders: Orders) -> int:
    if orders.backup is not None:
        back_up(orders.settings.database_url, orders.backup, force=orders.force)
    return 0


async def _run(orders: Orders, arguments: Sequence[str]) -> list[socket.socket]:
    """Be a registry; return what the next one goes on with, nothing if there is to be none."""
    registry = Registry(orders.settings, restart.inherited(os.environ))
    registry.check = lambda: restart.check(arguments)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, registry.end)
    # Of a terminal that is closed it means the end, as to all programs there.
    hung_up = registry.end if sys.stderr.isatty() else registry.begin_restart
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, restart.HELD)
    await registry.start()
    if orders.json:
        found = {"url": registry.url, "pid": os.getpid(), **registry.record}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    try:
        await registry.idle.wait()
    finally:
        await registry.stop()
    if registry.again:
        signal.pthread_sigmask(signal.SIG_BLOCK, restart.HELD)
        return registry.sockets
    for each in registry.sockets:
        each.close()
    return []
