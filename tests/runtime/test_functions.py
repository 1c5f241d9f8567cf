"""Which functions can be called from the wire."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from palm.errors import ConfigError
from palm.runtime.functions import FunctionTable


class Base:
    def start(self) -> None: ...

    def stop(self, grace: float = 5.0) -> None: ...

    @property
    def functions(self) -> list[str]:
        return []


class Component(Base):
    """The class below which functions are looked for; it is one of the library."""


def table_of(kind: type) -> FunctionTable:
    return FunctionTable.of(kind(), Component)


def test_public_methods_below_the_base_are_served() -> None:
    class Mine(Component):
        factor = 2

        def double(self, value: int) -> int:
            return self.factor * value

        @staticmethod
        def negate(value: int) -> int:
            return -value

        @classmethod
        def whose(cls, value: int) -> str:
            return cls.__name__

        identity = lambda self, value: value  # noqa: E731

        @functools.lru_cache  # noqa: B019 - a user may
        def cached(self, value: int) -> int:
            return value

    table = table_of(Mine)
    assert table.names() == ["double", "negate", "whose", "identity", "cached"]
    assert [table[name](3) for name in table] == [6, -3, "Mine", 3, 3]


def test_nothing_else_is_served() -> None:
    class Mine(Component):
        text = "text"
        Nested = dict

        class Inner:
            pass

        def __init__(self) -> None:
            self.attribute = print

        def _private(self, value: Any) -> Any: ...

        def __call__(self, value: Any) -> Any: ...

        @property
        def prop(self) -> Any:
            raise AssertionError("a property is not to be read")

        def only(self, value: Any) -> Any: ...

    assert table_of(Mine).names() == ["only"]


def test_a_method_of_the_base_that_is_overridden_is_not_served() -> None:
    class Mine(Component):
        def start(self) -> None:
            super().start()

        def stop(self, grace: float = 5.0) -> None:
            super().stop(grace)

        def work(self, value: Any) -> Any: ...

    assert table_of(Mine).names() == ["work"]


def test_methods_of_every_class_below_the_base_are_served() -> None:
    class Parent(Component):
        def one(self, value: Any) -> str:
            return "parent"

        def two(self, value: Any) -> str:
            return "parent"

        def three(self, value: Any) -> str:
            return "parent"

    class Child(Parent):
        three = None  # type: ignore[assignment]

        def two(self, value: Any) -> str:
            return "child"

    table = table_of(Child)
    assert {name: table[name](0) for name in table} == {"one": "parent", "two": "child"}


def test_methods_of_a_class_beside_the_base_are_not_served() -> None:
    class Mixin:
        def helper(self, value: Any) -> Any: ...

    class Mine(Mixin, Component):
        def work(self, value: Any) -> Any: ...

    assert table_of(Mine).names() == ["work"]


@pytest.mark.parametrize("name", ["_private", "__call__", "two words", "a.b", "", "1st", "é-"])
def test_a_name_that_is_no_public_identifier_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be served"):
        FunctionTable({name: print})


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigError, match="'count' is not a function but int"):
        FunctionTable({"count": 3})  # type: ignore[dict-item]


def test_a_name_that_is_not_served_is_not_there() -> None:
    table = FunctionTable({"work": print})
    assert "work" in table
    assert "start" not in table
    assert len(table) == 1
    with pytest.raises(KeyError):
        table["start"]


def test_a_table_does_not_follow_the_mapping_it_was_made_of() -> None:
    functions = {"work": print}
    table = FunctionTable(functions)
    functions["more"] = print
    assert table.names() == ["work"]
