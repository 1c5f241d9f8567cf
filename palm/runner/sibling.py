"""What the fork server asks of Linux that Python has no call for.

A child that the server forked would be the runner's grandchild: the runner could neither wait for
it nor see how it ended. Linux forks a *sibling* if asked to (``CLONE_PARENT``, which container
runtimes use for the same end). Python's steps around a fork are public functions of its C API, and
the C library is given what its own fork gives it: where the id of the thread is kept, and the list
of robust locks.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["System", "Unfit"]

# From <linux/sched.h> and <linux/prctl.h>; they are the same on all architectures.
_CLONE_PARENT: Final = 0x00008000
_CLONE_CHILD_CLEARTID: Final = 0x00200000
_CLONE_CHILD_SETTID: Final = 0x01000000
_PR_GET_TID_ADDRESS: Final = 40
_PR_SET_MM: Final = 35
_PR_SET_MM_MAP: Final = 14


@dataclass(frozen=True, slots=True)
class _Calls:
    """Numbers of system calls; ``tid_at`` is where clone takes the address of the thread's id."""

    clone: int
    get_robust_list: int
    set_robust_list: int
    tid_at: int


_CALLS: Final = {
    "x86_64": _Calls(56, 274, 273, 3),
    "aarch64": _Calls(220, 100, 99, 4),
}


class Unfit(Exception):  # noqa: N818 - a finding, which is sent on, not an error of the user's
    """Components forked here would not be as good as started ones; the text says why."""


class _Map(ctypes.Structure):
    """``struct prctl_mm_map``: where the parts of a process are in its memory."""

    _fields_ = (
        *(
            (name, ctypes.c_uint64)
            for name in (
                "start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
                "start_stack", "arg_start", "arg_end", "env_start", "env_end", "auxv",
            )
        ),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_int32),
    )  # fmt: skip


#: Numbers of the fields of /proc/PID/stat that say the same, see proc(5).
_STAT: Final = {
    "start_code": 26, "end_code": 27, "start_stack": 28, "start_data": 45, "end_data": 46,
    "start_brk": 47,
}  # fmt: skip


class System:
    """The calls, for a process that has one thread.

    Raises
    ------
    Unfit
        They are not to be had here.
    """

    def __init__(self) -> None:
        calls = _CALLS.get(platform.machine())
        if calls is None:
            raise Unfit(f"forking a sibling is not known on {platform.machine()}")
        self._calls = calls
        # Unlike CDLL it keeps the interpreter's lock: nothing is to happen around a fork.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long
        self._libc.sbrk.argtypes = (ctypes.c_ssize_t,)
        self._libc.sbrk.restype = ctypes.c_void_p
        self._tid = self._find_tid()
        self._shown: ctypes.Array[ctypes.c_char] | None = None

    def fork_sibling(self) -> int:
        """Fork a child of our parent; return its id, and 0 in the child."""
        robust, length = ctypes.c_void_p(), ctypes.c_size_t()
        self._call(
            self._calls.get_robust_list, 0, ctypes.addressof(robust), ctypes.addressof(length)
        )
        flags = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | signal.SIGCHLD
        arguments = [flags, 0, 0, 0, 0]
        arguments[self._calls.tid_at] = self._tid
        ctypes.pythonapi.PyOS_BeforeFork()
        try:
            pid = self._call(self._calls.clone, *arguments)
        except OSError:
            ctypes.pythonapi.PyOS_AfterFork_Parent()
            raise
        if pid:
            ctypes.pythonapi.PyOS_AfterFork_Parent()
            return pid
        self._call(self._calls.set_robust_list, robust.value or 0, length.value)
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0

    def show_as(self, argv: Sequence[bytes], environment: Mapping[bytes, bytes]) -> None:
        """Have the system show this process with these arguments and this environment.

        Others know a component by what it was started with, in ``/proc/PID/environ``.
        """
        arguments = b"".join(each + b"\0" for each in argv)
        variables = b"".join(b"%s=%s\0" % each for each in environment.items())
        shown = ctypes.create_string_buffer(arguments + variables)
        begin = ctypes.addressof(shown)
        found = _Map(**_places(), auxv_size=0, exe_fd=-1)
        found.arg_start, found.arg_end = begin, begin + len(arguments)
        found.env_start, found.env_end = found.arg_end, found.arg_end + len(variables)
        found.brk = self._libc.sbrk(0)
        size = ctypes.c_ulong(ctypes.sizeof(found))
        if self._libc.prctl(_PR_SET_MM, _PR_SET_MM_MAP, ctypes.byref(found), size, 0):
            error = os.strerror(ctypes.get_errno())
            raise Unfit(f"what a process shows as its environment cannot be set: {error}")
        self._shown = shown  # the system reads it whenever somebody asks

    def _find_tid(self) -> int:
        """Return where the C library keeps the id of this thread."""
        place = ctypes.c_void_p()
        nothing = ctypes.c_ulong(0)
        failed = self._libc.prctl(
            _PR_GET_TID_ADDRESS, ctypes.byref(place), nothing, nothing, nothing
        )
        # Not every C library keeps it where it has it cleared; glibc does.
        if failed or not place.value:
            raise Unfit("where the id of a thread is kept cannot be found out")
        if ctypes.c_int.from_address(place.value).value != os.getpid():
            raise Unfit("this C library keeps the id of a thread elsewhere")
        return place.value

    def _call(self, number: int, *arguments: int) -> int:
        result = int(self._libc.syscall(*map(ctypes.c_long, (number, *arguments))))
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return result


def _places() -> dict[str, int]:
    with open("/proc/self/stat", "rb") as file:
        text = file.read()
    # Field 2, the program's name, may hold anything; the third is the first behind it.
    fields = text[text.rindex(b")") + 2 :].split()
    return {name: int(fields[number - 3]) for name, number in _STAT.items()}
