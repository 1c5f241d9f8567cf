"""A component in an ipykernel: it serves, and one can look into it and change it meanwhile.

``python -m palm.runner.kernel FILE SOCKETS PROGRAM`` starts a kernel with the connection file
FILE, and sockets whose paths begin with SOCKETS. PROGRAM is

- ``worker TARGET ...``, ``master ...`` and so on, as the command ``palm`` takes them: functions
  are looked up in the kernel's namespace at each call, so a new definition counts at once,
- ``script FILE ...``: a script that starts a component of its own.

The component runs in a thread; the cells of ``jupyter console --existing FILE`` run in the main
one. What either prints goes to stdout and stderr, too. The process ends with its component.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

# A kernel that knows its parent ends with it, and ipykernel looks when it is imported.
os.environ.pop("JPY_PARENT_PID", None)
# Else each kernel warns on stderr that a debugger would miss frozen modules.
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import Any as AnyTrait
from traitlets.config import Config

from palm.errors import PalmError
from palm.runner.commands import remove_kernel_files
from palm.runner.hosting import Hosted, hosted
from palm.runtime.component import GRACE
from palm.runtime.logs import COMPONENT_FORMAT

__all__ = ["main"]

#: Seconds from the end of the component to that of the process, which a cell might hold up.
_LEAVE = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a component in a kernel until it is stopped; return its exit code."""
    file, sockets, *program = sys.argv[1:] if arguments is None else arguments
    _log_to_stdout()
    try:
        component = hosted(program)
    except PalmError as error:
        sys.stderr.write(f"palm: {error}\n")
        return 1
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        traceback.print_exception(error.with_traceback(_from_users_code(error.__traceback__)))
        return 1
    return _Host(Path(file), Path(sockets), component).run()


class _Host:
    """A kernel in the main thread, and a component in another."""

    def __init__(self, file: Path, sockets: Path, component: Hosted) -> None:
        self._file = file
        self._sockets = sockets
        self._component = component
        self._thread = threading.Thread(target=self._serve, name="palm-component", daemon=True)
        self._over = threading.Event()
        self._kernel: Any = None
        self._asked = 0
        self._code = 0

    def run(self) -> int:
        """Serve until the component or the kernel has ended; end the other one then."""
        # The one before us may have been killed: its key and its ports are nobody's.
        remove_kernel_files(self._file, self._sockets)
        app = self._make_app()
        signal.signal(signal.SIGTERM, self._on_signal)
        app.start()
        self._component.stop()
        self._over.wait(GRACE)
        return self._code

    def _make_app(self) -> Any:
        namespace = vars(self._component.module)
        before = dict(namespace)
        app = _App(  # type: ignore[no-untyped-call]
            connection_file=str(self._file),
            transport="ipc",
            ip=str(self._sockets),
            quiet=False,  # what is printed goes to the real stdout and stderr as well,
            capture_fd_output=False,  # where what C code writes is anyway
            log_level=logging.CRITICAL,
            kernel_class=_kernel_class(self._component.module, self._on_start),
            user_ns=namespace,
            config=Config({"HistoryManager": {"hist_file": ":memory:"}}),
        )
        app.initialize([])  # type: ignore[no-untyped-call]
        namespace.update(before)  # IPython's `exit` and the like give way to what was there
        return app

    def _on_start(self, kernel: Any) -> None:
        self._kernel = kernel
        self._thread.start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        self._component.stop(GRACE if self._asked == 1 else 0.0)

    def _serve(self) -> None:
        try:
            self._code = self._component.serve()
        except BaseException as error:  # noqa: BLE001 - the process ends with it, whatever it is
            self._code = 1
            traceback.print_exception(error, file=sys.__stderr__)
        self._over.set()
        loop = self._kernel.io_loop
        loop.add_callback(loop.stop)
        # A daemon's wait ends with the process; if that does not come, a cell is in the way.
        threading.Event().wait(_LEAVE)
        remove_kernel_files(self._file, self._sockets)
        os._exit(self._code)


class _App(IPKernelApp):
    """A kernel that runs none of the user's start-up files: the component's code is there."""

    def init_code(self) -> None:
        """Run nothing."""


def _kernel_class(module: ModuleType, on_start: Any) -> type:
    class ComponentKernel(IPythonKernel):
        user_module = AnyTrait(module)

        def start(self) -> None:
            super().start()  # type: ignore[no-untyped-call]
            on_start(self)

    return ComponentKernel


def _log_to_stdout() -> None:
    """Have components log where they do in a process of their own; IPython makes them silent."""
    handler = logging.StreamHandler(sys.__stdout__)
    handler.setFormatter(logging.Formatter(COMPONENT_FORMAT))
    logger = logging.getLogger("palm")
    logger.addHandler(handler)
    logger.propagate = False


def _from_users_code(entry: TracebackType | None) -> TracebackType | None:
    ours = f"{Path(__file__).parents[1]}{os.sep}"
    while entry is not None:
        file = entry.tb_frame.f_code.co_filename
        if not file.startswith((ours, "<frozen importlib")) and "importlib" not in file:
            return entry
        entry = entry.tb_next
    return None


if __name__ == "__main__":
    sys.exit(main())
