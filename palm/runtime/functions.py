"""Which functions a worker serves: nothing else can be called from the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from palm.errors import ConfigError
from palm.runtime.several import is_generator, spread, yielding

__all__ = ["FunctionTable"]

Function = Callable[[Any], Any]


class FunctionTable:
    """Functions by name; each takes one positional argument, the payload.

    What a generator yields are its results, any number of them. ``hooks`` return `Several`; they
    have names that nobody can call from outside.
    """

    def __init__(
        self, functions: Mapping[str, Function], hooks: Mapping[str, Function] | None = None
    ) -> None:
        for name, function in functions.items():
            if not name.isidentifier() or name.startswith("_"):
                raise ConfigError(
                    f"{name!r} cannot be served",
                    hint="the name of a function is a Python identifier without leading underscore",
                )
            if not callable(function):
                raise ConfigError(f"'{name}' is not a function but {type(function).__name__}")
        self._yielding = {name for name, function in functions.items() if is_generator(function)}
        self._functions = {
            name: yielding(function) if name in self._yielding else function
            for name, function in functions.items()
        }
        self._functions.update(hooks or {})
        self._yielding.update(hooks or {})

    @classmethod
    def of(cls, component: object, base: type) -> FunctionTable:
        """Collect the public methods that the classes of ``component`` define below ``base``.

        Methods of ``base`` that they override, such as `start`, are no functions.
        """
        functions: dict[str, Function] = {}
        for kind in reversed(type(component).__mro__):
            if kind is base or not issubclass(kind, base):
                continue
            for name, attribute in vars(kind).items():
                functions.pop(name, None)
                if not name.startswith("_") and not hasattr(base, name) and _is_method(attribute):
                    functions[name] = attribute.__get__(component, type(component))
        return cls(functions)

    def yields(self, name: str) -> bool:
        """Whether a call has any number of results: it returns `Several`."""
        return name in self._yielding

    def spread(self) -> FunctionTable:
        """Return a table in which each item of what a function returns is a result."""
        table = FunctionTable({})
        for name, function in self._functions.items():
            table._functions[name] = function if self.yields(name) else spread(function)
            table._yielding.add(name)
        return table

    def around(self, wrap: Callable[[Function], Function]) -> FunctionTable:
        """Return a table in which each function is called by what ``wrap`` makes of it."""
        table = FunctionTable({})
        table._functions = {name: wrap(function) for name, function in self._functions.items()}
        table._yielding = set(self._yielding)
        return table

    def under(self, other: FunctionTable) -> FunctionTable:
        """Return a table of both; of two functions of one name, that of ``other`` counts."""
        table = FunctionTable({})
        table._functions = self._functions | other._functions
        table._yielding = (self._yielding - set(other._functions)) | other._yielding
        return table

    def __getitem__(self, name: str) -> Function:
        return self._functions[name]

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def names(self) -> list[str]:
        """Return the names, in the order of definition."""
        return list(self._functions)


def _is_method(attribute: object) -> bool:
    if isinstance(attribute, staticmethod | classmethod):
        return True
    return callable(attribute) and hasattr(attribute, "__get__") and not isinstance(attribute, type)
