"""What a cell lacks is found before a worker starts, and nothing else is."""

from __future__ import annotations

import math
import pathlib
import textwrap

import pytest

from palm.errors import ConfigError
from palm_jupyter import cellcode


def missing(source: str, *given: str) -> list[str]:
    return [entry.name for entry in cellcode.undefined_names(textwrap.dedent(source), given)]


COMPLETE = {
    "imports": "import os, os.path as p\nfrom math import pi as PI\ndef f(x): return os, p, PI",
    "builtins": "def f(x): return sorted(map(str, x)), len, Exception, __name__, __file__, __doc__",
    "later definition": "def f(x): return g(x)\ndef g(x): return x",
    "recursion": "def f(n): return f(n - 1)",
    "class": """
        class A:
            size = 3
            other = size + 1
            def m(self): return self.size, __class__, super().__init__
            n = staticmethod(m)
            __slots__ = ("a",)
        def f(x): return A()
        """,
    "nested function": """
        def f(x):
            y = 1
            def g(): return h() + y
            def h(): return y
            return g
        """,
    "nonlocal": """
        def f(x):
            n = 0
            def g():
                nonlocal n
                n += 1
            return g
        """,
    "comprehensions": """
        def f(x):
            return [a for b in x for a in b], {a: b for a, b in x}, {a for a in x}, (a for a in x)
        table = [row for row in range(3) if row]
        """,
    "lambda": "f = lambda x, y=2, *a, **k: (x, y, a, k)",
    "walrus": "def f(x):\n    if (n := len(x)) > 3: return n\n    return n",
    "match": """
        def f(x):
            match x:
                case {"a": a, **rest}: return a, rest
                case [first, *others]: return first, others
                case str() as text: return text
        """,
    "global in a function": """
        def setup():
            global cache
            cache = {}
        def f(x): return cache[x]
        """,
    "global import": "def f(x):\n    global os\n    import os\ndef g(x): return os",
    "loops and with": """
        with open("x") as handle:
            for line in handle: last = line
        def f(x): return handle, line, last
        """,
    "except as": "try: pass\nexcept ValueError as error: print(error)",
    "star import": "from math import *\ndef f(x): return sin(nothing_known)",
    "local annotation": "def f(x):\n    y: DataFrame = 1\n    z: np.ndarray\n    return y",
    "future annotations": (
        "from __future__ import annotations\ndef f(x: DataFrame) -> Series: return x\ny: Frame = 1"
    ),
    "string annotation": "def f(x: 'DataFrame'): return x",
    "type checking": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from pandas import DataFrame
        def f(x: "DataFrame"): return DataFrame
        """,
    "name error handled": """
        try:
            text = unicode
        except NameError:
            text = str
        """,
    "async": """
        async def f(x):
            async with x as y:
                return [i async for i in y]
        """,
    "deleted and bound again": "x = 1\ndel x\nx = 2\ndef f(y): return x",
    "deleted after use": "import os\nhere = os.sep\ndel os\ndef f(x): return here",
    "deleted in a function": "x = 1\ndef f(y):\n    z = y\n    del z\n    return x",
    "f-string": 'def f(x): return f"{x!r:>{len(x)}}"',
    "generators in class": "class A:\n    xs = [1]\n    ys = [x for x in xs]",
    "assignment targets": "a, (b, *c) = 1, (2, 3)\nd = e = 4\nf = lambda x: (a, b, c, d, e)",
    "augmented": "n = 0\nn += 1\ndef f(x): return n",
    "constant branch": "if False: never_there()\ndef f(x): return x",
}


@pytest.mark.parametrize("source", COMPLETE.values(), ids=COMPLETE.keys())
def test_complete_cells_lack_nothing(source: str) -> None:
    assert missing(source) == []


LACKING = {
    "in a function": ("def f(x): return np.sum(x)", ["np"]),
    "in a method": ("class A:\n    def m(self): return helper(self)", ["helper"]),
    "in a class body": ("class A(Base):\n    size = LIMIT", ["Base", "LIMIT"]),
    "method does not see the class's names": (
        "class A:\n    size = 3\n    def m(self): return size",
        ["size"],
    ),
    "in a nested function": ("def f(x):\n    def g(): return [y for y in outside]\n", ["outside"]),
    "in a comprehension": ("xs = [scale * i for i in range(3)]", ["scale"]),
    "decorator": ("@cached\ndef f(x): return x", ["cached"]),
    "default": ("def f(x, n=LIMIT, *, m=OTHER): return x", ["LIMIT", "OTHER"]),
    "annotation": ("def f(x: DataFrame) -> Series: return x", ["DataFrame", "Series"]),
    "module annotation": ("x: Frame = 1", ["Frame"]),
    "lambda default": ("f = lambda x=LIMIT: x", ["LIMIT"]),
    "keyword class": ("class A(metaclass=Meta): pass", ["Meta"]),
    "global without assignment": ("def f(x):\n    global n\n    return n", ["n"]),
    "deleted": ("import os\ndel os\ndef f(x): return os", ["os"]),
    "except as is unbound after": (
        "try: pass\nexcept ValueError as error: pass\ndel error\ndef f(x): return error",
        ["error"],
    ),
    "local elsewhere": ("def f(x):\n    y = 1\n    return y\ndef g(x): return y", ["y"]),
    "f-string": ('def f(x): return f"{x} {unit}"', ["unit"]),
    "raise and except": ("def f(x):\n    try: raise Bad\n    except Worse: pass", ["Bad", "Worse"]),
    "handler body": ("def f(x):\n    try: pass\n    except NameError: fallback()", ["fallback"]),
    "ipython": ("def f(x): display(x); get_ipython()", ["display", "get_ipython"]),
    "match class": ("def f(x):\n    match x:\n        case Point(): return 1", ["Point"]),
    "once per name": ("def f(x): return np\ndef g(x): return np", ["np"]),
}


@pytest.mark.parametrize(("source", "names"), LACKING.values(), ids=LACKING.keys())
def test_names_nobody_defines_are_found(source: str, names: list[str]) -> None:
    assert missing(source) == names


def test_pushed_names_are_defined() -> None:
    assert missing("def f(x): return np, LIMIT", "LIMIT") == ["np"]


def test_line_is_that_of_the_first_use_not_of_the_definition() -> None:
    cell = "def f(\n    x,\n):\n    y = 1\n    return np + np\n"
    source = cellcode.padded(cell, "%%palm_worker foo")
    (entry,) = cellcode.undefined_names(source)
    assert (entry.name, entry.line) == ("np", 6)


def report(source: str, namespace: dict[str, object], pushed: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        cellcode.check_names(textwrap.dedent(source), namespace, pushed)
    return str(caught.value)


def test_each_name_comes_with_its_remedy() -> None:
    import os.path as osp
    import xml.etree.ElementTree as ET

    def helper() -> None: ...

    helper.__module__ = "__main__"
    namespace = {
        "LIMIT": 3,
        "m": math,
        "math": math,
        "Path": pathlib.Path,
        "P": pathlib.Path,
        "ET": ET,
        "osp": osp,
        "helper": helper,
        "measure_all": 1,
        "sqrt": math.sqrt,
    }
    text = report(
        """
        def f(x):
            LIMIT; m; math; Path; P; ET; osp; helper; json; mesure_all; sqrt; Worker; display; xyzzy
        """,
        namespace,
    )
    for part in (
        "--push LIMIT` to its first line (an int here)",
        "`import math as m`",
        "`import math`",
        "`from pathlib import Path`",
        "`from pathlib import Path as P`",
        "`import xml.etree.ElementTree as ET`",
        "--push helper",
        "`import json`",
        "did you mean `measure_all`?",
        "`from math import sqrt`",
        "`from palm.servers import Worker`",
        "exists in a notebook only",
        "xyzzy",
    ):
        assert part in text, part
    assert "line 3 " in text


def test_public_home_is_preferred_to_the_defining_module() -> None:
    import pandas as pd

    text = report("def f(x): return DataFrame(x)", {"DataFrame": pd.DataFrame})
    assert "`from pandas import DataFrame`" in text


def test_no_report_when_nothing_is_missing() -> None:
    cellcode.check_names("def f(x): return LIMIT", {}, ("LIMIT",))


def test_syntax_error_is_shown_against_the_cell() -> None:
    source = cellcode.padded("def f(x):\n    return x +\n", "%%palm_worker foo")
    with pytest.raises(ConfigError) as caught:
        cellcode.parse(source, "<palm_worker foo>")
    lines = str(caught.value).splitlines()
    assert lines[0] == "SyntaxError: invalid syntax (line 3 of the cell)"
    assert lines[2] == "        return x +"
    assert lines[3].rstrip().endswith("^")
    assert lines[2][lines[3].index("^") - 1] in "+ "


def test_errors_of_the_compiler_are_shown_too() -> None:
    with pytest.raises(ConfigError, match="'return' outside function"):
        cellcode.parse("return 1", "<cell>")
    with pytest.raises(ConfigError, match="null"):
        cellcode.parse("x = '\0'", "<cell>")


def test_magics_in_the_cell_get_a_hint() -> None:
    with pytest.raises(ConfigError, match="do not run in a worker"):
        cellcode.parse("%time f()\n", "<cell>")


def test_lambda_gets_a_hint() -> None:
    with pytest.raises(
        ConfigError, match=r"write `def square\(...\):` instead of `square = lambda"
    ):
        cellcode.check_serves(cellcode.parse("_a = 1\nsquare = lambda x: x * x", "<cell>"))


def test_changes_ignore_comments_and_blank_lines() -> None:
    old = "def f(x): return x\ndef g(x): return 1\nclass A:\n    def m(self, x): return 1\n"
    new = "# new\n\ndef f(x):\n    return x  # same\ndef g(x): return 2\n"
    new += "class A:\n    def m(self, x): return 1\n"
    assert cellcode.changes(old, new, ["f", "g", "m"]) == ["g"]
