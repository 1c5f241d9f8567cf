"""What a kernel hosts: a component, and the namespace in which one may look at it and change it."""

from __future__ import annotations

import gc
import inspect
import os
import sys
import types
from argparse import Namespace as Arguments
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from palm.cli.arguments import build_parser
from palm.cli.foreground import log_level
from palm.cli.making import SERVING, make_hub, make_master, make_serving
from palm.errors import ConfigError
from palm.runtime.component import GRACE, Component
from palm.runtime.several import is_generator
from palm.runtime.targets import Functions, load_target
from palm.servers import Worker

__all__ = ["Hosted", "hosted"]

Namespace = MutableMapping[str, Any]
_T = TypeVar("_T", bound=Component)


class Hosted(Protocol):
    """A component for a kernel; ``module`` is what the kernel's cells run in."""

    module: types.ModuleType

    def serve(self) -> int:
        """Serve until stopped, in this thread; return an exit code."""

    def stop(self, grace: float = GRACE) -> None:
        """Ask it to stop, from any thread."""


def hosted(program: Sequence[str]) -> Hosted:
    """Make the component of a command: ``worker ...``, ``master ...``, ``script FILE ...``.

    The code of what it serves is run here; what it raises is passed on.

    Raises
    ------
    ConfigError
        The command cannot be understood, or has nothing to serve.
    """
    if program[:1] == ["script"] and len(program) > 1:
        return _Script(Path(program[1]), program[2:])
    arguments = build_parser().parse_args(program)
    match arguments.command:
        case "worker" | "server" | "pipeline" | "sink" if arguments.target:
            return _serving(arguments)
        case "master":
            return _Host(make_master(arguments), types.ModuleType("__main__"))
        case "hub":
            return _Host(make_hub(arguments), types.ModuleType("__main__"))
    raise ConfigError(
        "a kernel can host a script, a master, a hub, and with a target a worker, a server, a"
        " pipeline or a sink"
    )


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


def _serving(arguments: Arguments) -> _Host:
    """Make a component whose functions are looked up in the kernel when they are called."""
    if arguments.command == "worker":
        return _live_host(Worker, arguments, _make_worker)
    return _live_host(SERVING[arguments.command], arguments, make_serving)


def _live_host(
    base: type[_T],
    arguments: Arguments,
    make: Callable[[type[_T] | Functions, Arguments], Component],
) -> _Host:
    push = Path(arguments.push_file) if arguments.push_file else None
    offer = load_target(arguments.target, base, push=push, source_name=arguments.source_name)
    defined = next(iter(offer.values())) if isinstance(offer, dict) else offer
    module = sys.modules[defined.__module__]
    if isinstance(offer, dict):
        return _Host(make(_live(vars(module), offer), arguments), module)
    return _Host(make(_live_class(vars(module), offer, base), arguments), module)


def _make_worker(offer: type[Worker] | Functions, arguments: Arguments) -> Worker:
    name = arguments.name or os.environ.get("PALM_COMPONENT", "")
    more: dict[str, Any] = {"master": arguments.master, "log_level": log_level()}
    if isinstance(offer, dict):
        return Worker(name, functions=offer, **more)
    return offer(name, **more)


def _live(namespace: Namespace, functions: Functions) -> Functions:
    """Functions that are looked up in a namespace when they are called."""

    def live(name: str) -> Callable[[Any], Any]:
        return lambda payload: _find(namespace, name)(payload)

    return {name: _like(function, live(name)) for name, function in functions.items()}


def _like(function: Callable[..., Any], live: Callable[..., Any]) -> Callable[..., Any]:
    """Have a live function any number of results if the one that it stands for has."""
    if not is_generator(function):
        return live

    def call(*args: Any) -> Iterator[Any]:
        found = live(*args)
        if isinstance(found, types.GeneratorType):
            yield from found
        else:  # by now it is another kind of function
            yield found

    return call


def _find(namespace: Namespace, name: str) -> Any:
    try:
        return namespace[name]
    except KeyError:
        raise NameError(f"{name!r} was deleted in the kernel") from None


def _live_class(namespace: Namespace, kind: type[_T], base: type[_T]) -> type[_T]:
    """A class whose functions are those of the class that has the name of ``kind`` by then."""

    def live(name: str) -> Callable[[_T, Any], Any]:
        def call(self: _T, payload: Any) -> Any:
            now = _find(namespace, kind.__name__)
            found = inspect.getattr_static(now, name)
            return found.__get__(self, type(self))(payload)

        return call

    names = [name for name in dir(kind) if not (name.startswith("_") or hasattr(base, name))]
    found = {name: getattr(kind, name) for name in names}
    served = {
        name: _like(function, live(name))
        for name, function in found.items()
        if inspect.isroutine(function)
    }
    return type(kind.__name__, (kind,), served)
