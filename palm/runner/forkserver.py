"""The fork server: a clean process that has loaded palm, and becomes the components.

It has one thread, no event loop, no socket but the one to its runner, and has run none of what it
loaded. Each fork is a child of the runner, not of the server, and what it does not get from the
request is as in a process that was started: see `palm.runner.forkable` for when that is so.

`palm.runner.forking` is the runner's side. It starts this with the runner's `sys.path`, and without
PYTHONPATH, so that where an interpreter looks by itself is known.
"""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import socket
import sys
import threading
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Final, NoReturn

from palm.runner.forkable import CHANGED, GO, MOST, READY, REFUSED, Request, unpack
from palm.runner.loaded import Loaded, search_path
from palm.runner.sibling import System, Unfit

__all__ = ["MODULES", "serve"]

#: What a component needs before it runs code of its own.
MODULES: Final = (
    "palm.cli.commands.hub",
    "palm.cli.commands.master",
    "palm.cli.commands.serving",
    "palm.cli.commands.worker",
    # What these load as late as when they run.
    "encodings.ascii",
    "gettext",
    "locale",
    "shutil",
)
#: What must not be shared, should somebody come to load it: keys and helpers of one process.
_UNSHARED: Final = ("asyncio", "multiprocessing", "ssl")


def serve(channel: int, base: Sequence[str]) -> None:
    """Fork on request until the runner is gone; return also in what was forked, at its end."""
    server = _Server(socket.socket(fileno=channel), base)
    try:
        server.prepare()
    except Unfit as error:
        server.tell(str(error).encode())
        return
    server.tell(READY)
    if server.serve():
        _run()


class _Server:
    def __init__(self, channel: socket.socket, base: Sequence[str]) -> None:
        self._channel = channel
        self._base = list(base)
        self._shown_as = [os.fsencode(sys.executable), b"-m", b"palm.runner.forkserver"]

    def prepare(self) -> None:
        """Load what components need; make sure that all is as it must be."""
        self._system = System()
        for name in MODULES:
            importlib.import_module(name)
        self._check()
        self._system.show_as(self._shown_as, os.environb)
        self._loaded = Loaded()
        gc.collect()
        gc.freeze()  # what is never looked at by the collector stays shared

    def tell(self, text: bytes) -> None:
        """Say something to the runner; if it is gone, the next request says so."""
        try:
            self._channel.send(text)
        except BrokenPipeError:
            return

    def serve(self) -> bool:
        """Fork what is asked for until the runner is gone; return True in a component."""
        while True:
            data, fds, flags, _ = socket.recv_fds(self._channel, MOST, 8, socket.MSG_CMSG_CLOEXEC)
            if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                return False  # a part of it is lost, and nobody can say which
            with socket.socket(fileno=fds[0]) as line:
                if self._fork(unpack(data), line, fds[1:]):
                    return True
            for fd in fds[1:]:
                os.close(fd)

    def _fork(self, request: Request, line: socket.socket, fds: Sequence[int]) -> bool:
        try:
            refusal = self._refusal(request)
            if not refusal and self._system.fork_sibling():
                return False
        except OSError as error:  # too many processes, or no memory
            refusal = REFUSED + str(error).encode()
        if refusal:
            line.send(refusal)
            return False
        self._channel.close()
        os.setsid()
        _await_go(line)
        self._become(request, fds)
        return True

    def _refusal(self, request: Request) -> bytes:
        """Return why it must be started, empty if it need not."""
        if changed := self._loaded.changed():
            return CHANGED + os.fsencode(changed)
        folder = os.path.realpath(os.fsdecode(request.folder))
        if not (os.path.isdir(folder) and os.access(folder, os.X_OK)):
            return REFUSED + b"its folder"  # whoever starts it says what is wrong with that
        hidden = self._loaded.hidden(self._path(request, folder))
        return REFUSED + os.fsencode(hidden) if hidden else b""

    def _path(self, request: Request, folder: str) -> list[str]:
        given = os.fsdecode(request.environment.get(b"PYTHONPATH", b""))
        return search_path(folder, given, self._base)

    def _become(self, request: Request, fds: Sequence[int]) -> None:
        """Be as if we had been started with the arguments of a request."""
        for number, fd in zip((1, 2), fds[:2], strict=True):
            os.dup2(fd, number)
            os.close(fd)
        os.chdir(request.folder)
        environment = dict(request.environment)
        for variable, fd in zip(request.pipes, fds[2:], strict=True):
            environment[variable] = b"%d" % fd
        os.environb.clear()
        os.environb.update(environment)
        time.tzset()
        self._system.show_as(request.argv, environment)
        sys.path[:] = self._path(request, os.getcwd())
        sys.path_importer_cache.clear()
        sys.orig_argv[:] = map(os.fsdecode, request.argv)
        # As ``python -m`` has it until it has found the module.
        sys.argv[:] = ["-m", *sys.orig_argv[3:]]
        main = ModuleType("__main__")
        if "__annotations__" in vars(sys.modules["__main__"]):  # the interpreter has put it there
            main.__annotations__ = {}
        sys.modules["__main__"] = main

    def _check(self) -> None:
        """Make sure that there is nothing which a fork would share or lack."""
        if threading.active_count() != 1 or len(os.listdir("/proc/self/task")) != 1:
            raise Unfit("loading palm has started a thread")
        # One is that of the listing itself.
        more = {int(each) for each in os.listdir("/proc/self/fd")} - {0, 1, 2}
        more = {fd for fd in more - {self._channel.fileno()} if _is_open(fd)}
        if more:
            raise Unfit(f"loading palm has opened something: {sorted(more)}")
        if shared := [name for name in _UNSHARED if name in sys.modules]:
            raise Unfit(f"palm loads what processes must not share: {', '.join(shared)}")


def _await_go(line: socket.socket) -> None:
    """Tell the runner who we are; go on only if it wants us."""
    line.send(b"%d" % os.getpid())
    wanted = line.recv(len(GO)) == GO
    line.close()
    if not wanted:
        os._exit(0)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _run() -> NoReturn:
    """Run palm as ``python -m palm`` does; what it fails with is shown as there."""
    try:
        runpy._run_module_as_main("palm")  # type: ignore[attr-defined]  # what -m itself calls
    except Exception as error:  # noqa: BLE001 - it is on the way out of the program
        trace = error.__traceback__
        sys.excepthook(type(error), error, trace and trace.tb_next)  # without this function
        raise SystemExit(1) from None
    raise SystemExit
