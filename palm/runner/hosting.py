"""What a kernel hosts: a component, and the namespace in which one may look at it and change it."""

from __future__ import annotations

import gc
import inspect
import os
import sys
import types
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from palm.cli.arguments import build_parser
from palm.cli.foreground import log_level
from palm.errors import ConfigError
from palm.runtime.component import GRACE, Component
from palm.runtime.targets import Functions, load_target
from palm.servers import Master, Worker

__all__ = ["Hosted", "hosted"]

Namespace = MutableMapping[str, Any]


class Hosted(Protocol):
    """A component for a kernel; ``module`` is what the kernel's cells run in."""

    module: types.ModuleType

    def serve(self) -> int:
        """Serve until stopped, in this thread; return an exit code."""

    def stop(self, grace: float = GRACE) -> None:
        """Ask it to stop, from any thread."""


def hosted(program: Sequence[str]) -> Hosted:
    """Make the component of a command: ``worker ...``, ``master ...`` or ``script FILE ...``.

    The code of a worker is run here; what it raises is passed on.

    Raises
    ------
    ConfigError
        The command cannot be understood, or has nothing to serve.
    """
    if program[:1] == ["script"] and len(program) > 1:
        return _Script(Path(program[1]), program[2:])
    arguments = build_parser().parse_args(program)
    if arguments.command == "worker" and arguments.target:
        return _worker(vars(arguments))
    if arguments.command == "master":
        return _master(vars(arguments))
    raise ConfigError("a kernel can host a worker, a master or a script")


class _Host:
    """A component that is there before it serves."""

    def __init__(self, component: Component, module: types.ModuleType) -> None:
        self.module = module
        self._component = component
        vars(module).setdefault(component.role, component)

    def serve(self) -> int:
        self._component.start()
        return 0

    def stop(self, grace: float = GRACE) -> None:
        self._component.stop(grace)


class _Script:
    """A script that makes a component of its own."""

    def __init__(self, path: Path, arguments: Sequence[str]) -> None:
        self.module = types.ModuleType("__main__")
        self.module.__file__ = str(path)
        self._path = path
        self._arguments = arguments

    def serve(self) -> int:
        sys.argv = [str(self._path), *self._arguments]
        sys.path.insert(0, str(self._path.absolute().parent))
        try:
            code = compile(self._path.read_bytes(), str(self._path), "exec", dont_inherit=True)
            exec(code, vars(self.module))  # noqa: S102 - the user's own code
        except SystemExit as left:
            return left.code if isinstance(left.code, int) else int(left.code is not None)
        return 0

    def stop(self, grace: float = GRACE) -> None:
        # The script's own variable may be anywhere, as the local one of a function.
        for found in gc.get_objects():
            if isinstance(found, Component):
                found.stop(grace)


def _worker(options: dict[str, Any]) -> _Host:
    push = Path(options["push_file"]) if options["push_file"] else None
    offer = load_target(options["target"], Worker, push=push, source_name=options["source_name"])
    defined = next(iter(offer.values())) if isinstance(offer, dict) else offer
    module = sys.modules[defined.__module__]
    name = options["name"] or os.environ.get("PALM_COMPONENT", "")
    more: dict[str, Any] = {"master": options["master"], "log_level": log_level()}
    if isinstance(offer, dict):
        return _Host(Worker(name, functions=_live(vars(module), offer), **more), module)
    return _Host(_live_class(vars(module), offer)(name, **more), module)


def _master(options: dict[str, Any]) -> _Host:
    master = Master(
        options["name"],
        pull_address=options["pull"],
        pub_address=options["pub"],
        worker_pull_address=options["wpull"],
        worker_push_address=options["wpush"],
        db_address=options["db"],
        log_level=log_level(),
    )
    return _Host(master, types.ModuleType("__main__"))


def _live(namespace: Namespace, functions: Functions) -> Functions:
    """Functions that are looked up in a namespace when they are called."""

    def live(name: str) -> Callable[[Any], Any]:
        return lambda payload: _find(namespace, name)(payload)

    return {name: live(name) for name in functions}


def _find(namespace: Namespace, name: str) -> Any:
    try:
        return namespace[name]
    except KeyError:
        raise NameError(f"{name!r} was deleted in the kernel") from None


def _live_class(namespace: Namespace, kind: type[Worker]) -> type[Worker]:
    """A class whose functions are those of the class that has the name of ``kind`` by then."""

    def live(name: str) -> Callable[[Worker, Any], Any]:
        def call(self: Worker, payload: Any) -> Any:
            now = _find(namespace, kind.__name__)
            found = inspect.getattr_static(now, name)
            return found.__get__(self, type(self))(payload)

        return call

    names = [name for name in dir(kind) if not (name.startswith("_") or hasattr(Worker, name))]
    served = {name: live(name) for name in names if inspect.isroutine(getattr(kind, name))}
    return type(kind.__name__, (kind,), served)
