"""A registry that starts anew in the same process: its sockets go from one to the next.

The process keeps its number and what is still to be answered; all else, the code too, is new.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from typing import NoReturn

from palm.errors import ConfigError

__all__ = ["check", "inherited", "replace"]

#: Names the sockets, by their descriptors, and the process that they are for.
_VARIABLE = "PALM_REGISTRY_SOCKETS"
#: Signals that wait until the next one is there.
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds for the new code to say that it could start.
_CHECK = 60.0


def inherited(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the sockets that the registry of before has left to this one."""
    process, _, numbers = environ.pop(_VARIABLE, "").partition(":")
    if process != str(os.getpid()):
        return []
    found = [socket.socket(fileno=int(number)) for number in numbers.split(",") if number]
    for each in found:
        each.set_inheritable(False)
        each.setblocking(False)
    return found


def replace(arguments: Sequence[str], sockets: Iterable[socket.socket]) -> NoReturn:
    """Become a new registry with the same command line, which has these sockets."""
    numbers = []
    for each in sockets:
        each.set_inheritable(True)
        numbers.append(str(each.detach()))
    os.environ[_VARIABLE] = f"{os.getpid()}:{','.join(numbers)}"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*_interpreter(), *arguments])  # noqa: S606 - no shell is wanted


async def check(arguments: Sequence[str]) -> None:
    """Let a new process say whether a registry with this command line could start.

    Raises
    ------
    ConfigError
        With what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *_interpreter(), *arguments, "--check", stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_CHECK):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        said = b"it takes too long"
    if process.returncode:
        text = said.decode("utf-8", "backslashreplace").strip()
        raise ConfigError(f"it could not start again, and so goes on as it is: {text}")


def _interpreter() -> list[str]:
    """The command up to the module: with the options of Python that were given to us."""
    given = sys.orig_argv[1:]
    options = given[: given.index("-m")] if "-m" in given else []
    return [sys.executable, *options, "-m", "palm_registry"]
