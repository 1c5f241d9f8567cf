"""``%palm`` and ``%%palm_worker``: they parse, call the session and return a value."""

from __future__ import annotations

import argparse
import atexit
import functools
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from palm.cli.arguments import (
    ArgumentsError,
    HelpRequested,
    Parser,
    component_args,
    previous_names,
)
from palm.clients import Job
from palm.clusters import Cluster, Component, Status
from palm.errors import PalmError
from palm_jupyter import arguments, completion
from palm_jupyter.session import Session, WorkerOptions

if TYPE_CHECKING:
    import pandas

__all__ = ["PalmMagics", "load", "unload"]

#: Where a shell keeps what was loaded into it.
_ATTRIBUTE = "_palm_extension"
_MISPLACED = "%palm_worker"
_SHOWN = (Component, Cluster, Status, Job)


def _short(magic: Callable[..., Any]) -> Callable[..., Any]:
    """Show palm's errors in a few lines: their text says it all, our frames say nothing."""

    @functools.wraps(magic)
    def run(self: PalmMagics, *args: str) -> Any:
        try:
            return magic(self, *args)
        except HelpRequested as request:
            print(request.text, end="")  # noqa: T201 - the help, as IPython's magics print theirs
            return None
        except ArgumentsError as error:
            raise UsageError(str(error)) from error  # shown without a traceback
        except PalmError as error:
            lines = f"{type(error).__name__}: {error}".splitlines()
            # IPython asks an exception for its traceback. A partial can be pickled with it.
            error.__dict__["_render_traceback_"] = functools.partial(list, lines)
            raise

    return run


@magics_class
class PalmMagics(Magics):
    """The magics of one shell."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell, session: Session, *, rich: bool = True) -> None:
        super().__init__(shell)
        self.session = session
        self._rich = rich

    @line_magic
    @_short
    def palm(self, line: str) -> Any:
        """Run a palm command; see ``%palm --help``."""
        options, silent = arguments.parse_line(line)
        value = getattr(self, f"_{options.command}")(options)
        return self._returned(value, options, silent)

    @cell_magic
    @_short
    def palm_worker(self, line: str, cell: str) -> Any:
        """Serve the functions of a cell; see ``%%palm_worker --help``."""
        options, silent = arguments.parse_cell(line)
        worker = WorkerOptions(
            master=options.master,
            name=options.name,
            replicas=options.replicas,
            push=options.push,
            replace=options.replace,
            kernel=options.kernel,
            node=options.node,
            labels=dict(text.partition("=")[::2] for text in options.label),
        )
        component = self.session.worker(worker, cell, f"%%palm_worker {line}".rstrip())
        if not (self._rich or silent):  # else it is part of what is shown
            print(self.session.headline(component))  # noqa: T201 - the notebook's user reads it
        return self._returned(component, options, silent)

    def _returned(self, value: Any, options: argparse.Namespace, silent: bool) -> Any:
        variable = getattr(options, "out", "")
        if variable:
            self.shell.user_ns[variable] = value
        return None if silent else value

    def _start(self, options: argparse.Namespace) -> Component:
        return self.session.component(
            options.command,
            options.name,
            getattr(options, "target", None),
            args=component_args(options),
            previous=previous_names(options),
            replace=options.replace,
            kernel=options.kernel,
        )

    _master = _server = _hub = _pipeline = _sink = _start

    def _up(self, options: argparse.Namespace) -> Cluster:
        return self.session.up(options.file, options.linger)

    def _down(self, options: argparse.Namespace) -> None:
        self.session.down()

    def _attach(self, options: argparse.Namespace) -> Cluster:
        return self.session.attach(options.name)

    def _dashboard(self, options: argparse.Namespace) -> Cluster:
        return self.session.cluster  # shown, it is the panel

    def _restart(self, options: argparse.Namespace) -> Component:
        return self.session.restart(options.name)

    def _signal(self, options: argparse.Namespace) -> None:
        sent = self.session.signal(options.name, options.signal, options.replica)
        print(f"{options.signal} is sent to {', '.join(sent)}")  # noqa: T201 - into the cell's output

    def _scale(self, options: argparse.Namespace) -> Component:
        return self.session.scale(options.name, options.replicas)

    def _status(self, options: argparse.Namespace) -> Status:
        return self.session.status()

    def _top(self, options: argparse.Namespace) -> pandas.DataFrame:
        what = "functions" if options.functions else "edges" if options.edges else "components"
        return self.session.top(what, options.interval)

    def _logs(self, options: argparse.Namespace) -> str | None:
        if not options.follow:
            return self.session.logs(options.name, options.n, options.grep)
        try:
            for line in self.session.follow(options.name, options.n, options.grep):
                name = f"{line.process} | " if line.process != options.name else ""
                print(f"{name}{line.text}", flush=True)  # noqa: T201 - into the cell's output
        except KeyboardInterrupt:  # how one stops to follow
            return None
        return None

    def _stop(self, options: argparse.Namespace) -> None:
        self.session.stop(options.names, everything=options.all, everyone=options.everyone)


class _Extension:
    """All that ``%load_ext`` adds to one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.session = Session(lambda: shell.user_ns, _canvas)
        self.magics = PalmMagics(shell, self.session, rich=bool(self._formatters()))
        self.completer = completion.Completer(shell, self.session)

    def add(self) -> None:
        self.shell.register_magics(self.magics)
        # What IPython looks for when a cell magic is not in the first line of its cell.
        self.shell.magics_manager.magics["line"][_MISPLACED] = _refuse_misplaced
        self.completer.add()
        for formatter in self._formatters():
            for kind in _SHOWN:
                formatter.for_type(kind, self.session.show)
        # The lease ends with the kernel in any case; given back, it ends at once.
        atexit.register(self.session.close)

    def remove(self) -> None:
        atexit.unregister(self.session.close)
        for formatter in self._formatters():
            for kind in _SHOWN:
                formatter.pop(kind, None)
        self.completer.remove()
        manager = self.shell.magics_manager
        manager.magics["line"].pop(_MISPLACED, None)
        for magic_kind, names in self.magics.magics.items():
            for name in names:
                manager.magics[magic_kind].pop(name, None)
        manager.registry.pop(type(self.magics).__name__, None)
        self.session.close()

    def _formatters(self) -> list[Any]:
        # A terminal shows text only: there `repr` has the table, and no widgets are loaded.
        formatter = self.shell.display_formatter
        if formatter is None or "text/html" not in formatter.active_types:
            return []
        return [formatter.ipython_display_formatter]


def _refuse_misplaced(line: str) -> None:
    raise UsageError(
        "%%palm_worker has to be the first line of its cell: nothing may stand above it, not even"
        " a comment or an import"
    )


def _usage(parser: Parser, text: str) -> str:
    return f"{text}\n\n{parser.format_help()}"


# What `%palm?` and `%%palm_worker?` show.
PalmMagics.palm.__doc__ = _usage(arguments.palm_parser(), "Run and watch components.")
PalmMagics.palm_worker.__doc__ = _usage(
    arguments.cell_parser(), "Serve the functions of a cell, or its Worker class."
)


def load(shell: InteractiveShell) -> None:
    """Add palm to a shell, unless it is there."""
    if not hasattr(shell, _ATTRIBUTE):
        extension = _Extension(shell)
        setattr(shell, _ATTRIBUTE, extension)
        extension.add()


def unload(shell: InteractiveShell) -> None:
    """Take palm away from a shell, if it is there, and let go of its cluster."""
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        delattr(shell, _ATTRIBUTE)
        extension.remove()


def _canvas() -> Any:
    return import_module("palm_jupyter.panels.canvas")  # loads ipywidgets: a third of a second
