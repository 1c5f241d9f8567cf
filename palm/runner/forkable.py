"""What the runner and its fork server have in common: requests, and which may be made.

Those components may be forked that are then as if their command had been started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "BOOT",
    "CHANGED",
    "GO",
    "MOST",
    "READY",
    "REFUSED",
    "Request",
    "early",
    "is_forkable",
    "pack",
    "unpack",
]

#: The program of the server, given the number of its socket and the places to look for modules.
BOOT: Final = (
    "import sys; base = sys.path[not sys.flags.safe_path:]; sys.path[:] = sys.argv[2:]; "
    "from palm.runner.forkserver import serve; serve(int(sys.argv[1]), base)"
)
#: What the server says once: that it is ready or, with the reason, that it never will be.
READY: Final = b"ready"
#: What is said of one request by the server, and to the component: begin.
REFUSED: Final = b"no "
CHANGED: Final = REFUSED + b"changed: "
GO: Final = b"go"
#: Bytes of a request; what is longer cannot be sent in one piece.
MOST: Final = 128 * 1024

#: What ``python -m palm`` is forked for: components. All else it does is over soon.
_COMMANDS = ("hub", "master", "pipeline", "server", "sink", "worker")

#: Variables that act before a program can change them, by how they begin and what reads them then.
_EARLY_PREFIXES = (
    "PYTHON",  # the interpreter as it starts; but for PYTHONPATH, see `palm.runner.loaded`
    "LD_",  # the loader of programs
    "LC_",  # the interpreter, for the encoding of arguments and streams
    "MALLOC_",  # the C library's allocator
    "COV_CORE_", "COVERAGE_",  # what measures coverage, as the interpreter starts
    "OPENSSL_",  # the library behind hashlib, as it is loaded
    "PYZMQ_", "ZMQ_", "MSGSPEC_",  # what palm has loaded
)  # fmt: skip
#: The same, whole names.
_EARLY = (
    "GLIBC_TUNABLES",  # the C library
    "GCONV_PATH", "LANG", "LANGUAGE", "LOCPATH",  # the encoding of arguments and streams
    "HOME",  # where the user's own packages are
    "SETUPTOOLS_USE_DISTUTILS",  # setuptools, as the interpreter starts
)  # fmt: skip


def early(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that cannot be given to an interpreter which runs already."""
    return {
        key: value
        for key, value in environment.items()
        if (key.startswith(_EARLY_PREFIXES) or key in _EARLY) and key != "PYTHONPATH"
    }


def is_forkable(
    argv: Sequence[str], environment: Mapping[str, str], python: str, started: Mapping[str, str]
) -> bool:
    """Say whether a command is a component of ours that suits a server.

    ``python`` is the server's interpreter and ``started`` the environment that it was started with.
    """
    return (
        tuple(argv[:3]) == (python, "-m", "palm")
        and len(argv) > 3
        and argv[3] in _COMMANDS
        and early(environment) == early(started)
        # What no process can be given is refused where one is started, with the reason.
        and not any("\0" in text for text in (*argv, *environment, *environment.values()))
        and not any(not key or "=" in key for key in environment)
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What a component is to be, in bytes as the system has it.

    ``pipes`` are the variables that name descriptors, in the order in which these are sent.
    """

    argv: Sequence[bytes]
    environment: Mapping[bytes, bytes]
    folder: bytes
    pipes: Sequence[bytes]


def pack(
    argv: Sequence[str], environment: Mapping[str, str], folder: str, pipes: Sequence[str]
) -> bytes:
    """Return a request as it is sent: no part of it can hold a zero byte."""
    variables = (f"{key}={value}" for key, value in environment.items())
    parts = (folder, str(len(argv)), *argv, str(len(pipes)), *pipes, *variables)
    return b"\0".join(map(os.fsencode, parts))


def unpack(data: bytes) -> Request:
    """Return what was packed."""
    folder, count, *parts = data.split(b"\0")
    end = int(count)
    argv, more, parts = parts[:end], int(parts[end]), parts[end + 1 :]
    environment = {}
    for each in parts[more:]:
        key, _, value = each.partition(b"=")
        environment[key] = value
    return Request(argv, environment, folder, parts[:more])
