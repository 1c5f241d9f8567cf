"""What a cell's code needs and defines, found without running it.

A worker starts from the cell alone: names that the notebook defines elsewhere do not exist there.
Everything here is a function of source text (and, for the remedies, of the notebook's namespace).

The names are read from the compiled code rather than from the syntax tree: what the compiler emits
a global look-up for is exactly what can raise ``NameError``, scopes, comprehensions, decorators,
defaults and never-evaluated annotations included.
"""

from __future__ import annotations

import ast
import builtins
import dis
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from palm.errors import ConfigError
from palm.spec.names import nearest

__all__ = [
    "UndefinedName",
    "changes",
    "check_names",
    "check_serves",
    "padded",
    "parse",
    "undefined_names",
]

#: Module globals that exist before the first line runs.
_PRESET = frozenset(
    {
        "__annotations__",
        "__builtins__",
        "__cached__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__spec__",
    }
)
#: Names that IPython adds to the builtins; a worker does not have them.
_IPYTHON = frozenset({"display", "get_ipython", "__IPYTHON__"})
_BUILTINS = frozenset(dir(builtins)) - _IPYTHON
_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_BINDS = frozenset({"STORE_NAME", "STORE_GLOBAL"})
#: What everybody calls them.
_CUSTOMARY = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot"}
_FORGIVING = frozenset({"NameError", "Exception", "BaseException"})


@dataclass(frozen=True, slots=True)
class UndefinedName:
    """A global name that the cell reads and never binds; ``line`` is that of its first use."""

    name: str
    line: int


def padded(cell: str, header: str) -> str:
    """The cell's body with its first line (the magic) as a comment, so that line numbers agree."""
    return f"# {header}\n{cell}"


def parse(source: str, filename: str) -> ast.Module:
    """The syntax tree; an error is shown against the cell, as a ConfigError.

    Compiles too: ``return`` outside a function and the like are found by the compiler only.
    """
    try:
        tree = ast.parse(source, filename)
        compile(tree, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _syntax_error(error, source) from error
    except ValueError as error:  # a NUL character in the source
        raise ConfigError(f"The cell cannot be compiled: {error}") from error
    return tree


def _syntax_error(error: SyntaxError, source: str) -> ConfigError:
    line = error.lineno or 1
    lines = source.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else (error.text or "").rstrip("\n")
    parts = [f"{type(error).__name__}: {error.msg} (line {line} of the cell)", "", f"    {text}"]
    if error.offset:
        end = error.end_offset if error.end_lineno == line and error.end_offset else 0
        width = max(1, end - error.offset)
        parts.append(" " * (error.offset + 3) + "^" * min(width, max(1, len(text))))
    hint = None
    if text.lstrip().startswith(("%", "!")):
        hint = "magics and ! commands do not run in a worker: plain Python only"
    return ConfigError("\n".join(parts), hint=hint)


def undefined_names(source: str, given: Collection[str] = ()) -> list[UndefinedName]:
    """Global names that the code reads and nothing defines, by line of their first use.

    Parameters
    ----------
    source
        Code that compiles (see `parse`).
    given
        Names that are put there before the code runs (``--push``).

    A star import may define anything: then nothing is reported. Uses under a ``try`` that handles
    ``NameError`` are the author's affair.
    """
    tree = ast.parse(source)
    if _has_star_import(tree):
        return []
    code = compile(tree, "<cell>", "exec", dont_inherit=True)
    known = _PRESET | _BUILTINS | set(given)
    bound = set(_bound(code))
    final = (bound - _deleted(tree)) | known
    forgiven = _forgiven_lines(tree)
    first: dict[str, int] = {}
    for name, line, immediate in _reads(code, immediate=True):
        defined = (bound | known) if immediate else final
        if name not in defined and line not in forgiven:
            first[name] = min(line, first.get(name, line))
    return sorted((UndefinedName(n, line) for n, line in first.items()), key=_place)


def _place(entry: UndefinedName) -> tuple[int, str]:
    return (entry.line, entry.name)


def _nested(code: CodeType) -> Iterator[CodeType]:
    # "__annotate__" is how 3.14 keeps annotations: evaluated on request only.
    for const in code.co_consts:
        if isinstance(const, CodeType) and const.co_name != "__annotate__":
            yield const


def _reads(code: CodeType, immediate: bool) -> Iterator[tuple[str, int, bool]]:
    """Each global read as (name, line, runs while the module runs)."""
    local = _class_names(code)
    line = code.co_firstlineno
    for step in dis.get_instructions(code):
        if step.positions is not None and step.positions.lineno is not None:
            line = step.positions.lineno
        if step.opname in _READS and step.argval not in local:
            yield step.argval, line, immediate
    for inner in _nested(code):
        runs_now = immediate and not inner.co_flags & 0x02  # CO_NEWLOCALS: a function's body
        yield from _reads(inner, runs_now)


def _class_names(code: CodeType) -> set[str]:
    """Names a class body binds in its own namespace (a module's are global, thus not here)."""
    if code.co_name == "<module>" or code.co_flags & 0x02:
        return set()
    stored = {s.argval for s in dis.get_instructions(code) if s.opname == "STORE_NAME"}
    return stored | {"__module__", "__qualname__"}


def _bound(code: CodeType) -> Iterator[str]:
    """Names that the module, or a function by ``global``, binds."""
    top = code.co_name == "<module>"
    for step in dis.get_instructions(code):
        if step.opname in _BINDS and (top or step.opname == "STORE_GLOBAL"):
            yield step.argval
    for inner in _nested(code):
        yield from _bound(inner)


def _has_star_import(tree: ast.Module) -> bool:
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return any(alias.name == "*" for node in imports for alias in node.names)


def _deleted(tree: ast.Module) -> set[str]:
    """Names that the module deletes for good, unconditionally."""
    gone: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Delete):
            gone |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        elif gone:
            gone -= set(_bound(compile(ast.Module([statement], []), "<cell>", "exec")))
    return gone


def _forgiven_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(_forgives(handler) for handler in node.handlers):
            for statement in node.body:
                lines |= set(range(statement.lineno, (statement.end_lineno or 0) + 1))
    return lines


def _forgives(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(n, ast.Name) and n.id in _FORGIVING for n in ast.walk(handler.type))


def check_names(source: str, namespace: Mapping[str, Any], pushed: Collection[str] = ()) -> None:
    """Raise a ConfigError that lists what the cell lacks, each with its remedy.

    ``namespace`` is the notebook's: it decides between "import it" and "push it".
    """
    missing = undefined_names(source, pushed)
    if not missing:
        return
    own = sorted(set(_bound(compile(source, "<cell>", "exec", dont_inherit=True))))
    width = max(len(entry.name) for entry in missing)
    text = (
        "The cell uses names that it does not define; a worker starts without the notebook's"
        " variables."
    )
    lines = [
        f"  line {entry.line:<3} {entry.name:<{width}}  {_remedy(entry.name, namespace, own)}"
        for entry in missing
    ]
    raise ConfigError("\n".join([text, *lines]))


def _remedy(name: str, namespace: Mapping[str, Any], own: Collection[str]) -> str:
    if name in namespace and not (name in _IPYTHON or name in ("In", "Out")):
        statement = _import_for(name, namespace[name])
        if statement:
            return f"add `{statement}` to the cell"
        kind = type(namespace[name]).__name__
        return f"add `--push {name}` to its first line ({_article(kind)} here)"
    if name in _IPYTHON or name in ("In", "Out"):
        return "exists in a notebook only; a worker can print, or return a value"
    if name in ("Worker", "Master"):
        return f"add `from palm.servers import {name}` to the cell"
    if name in _CUSTOMARY:
        return f"add `import {_CUSTOMARY[name]} as {name}` to the cell"
    if name in sys.stdlib_module_names:
        return f"add `import {name}` to the cell"
    close = nearest(name, {*own, *_BUILTINS, *(n for n in namespace if not n.startswith("_"))})
    hint = f"; did you mean `{close}`?" if close else ""
    return f"is not defined in this notebook either{hint}"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1].lower() in "aeiou" else f"a {kind}"


def _import_for(name: str, value: object) -> str | None:
    """The import statement that gives ``name``, where one does."""
    if isinstance(value, ModuleType):
        return _module_import(name, value.__name__)
    if not isinstance(value, type | FunctionType | BuiltinFunctionType):
        return None
    module, original = value.__module__, value.__name__
    if not module or module in ("__main__", "builtins"):  # of some C functions it is None
        return None
    home = _public_home(module, original, value)
    if home is None:
        return None
    suffix = "" if original == name else f" as {name}"
    return f"from {home} import {original}{suffix}"


def _module_import(name: str, full: str) -> str:
    if name == full:
        return f"import {name}"
    parent, _, last = full.rpartition(".")
    if parent and last == name:
        return f"from {parent} import {last}"
    return f"import {full} as {name}"


def _public_home(module: str, original: str, value: object) -> str | None:
    """The shortest package on the way to ``module`` that holds the value (pandas, not its core)."""
    parts = module.split(".")
    for size in range(1, len(parts) + 1):
        home = sys.modules.get(".".join(parts[:size]))
        if home is not None and getattr(home, original, None) is value:
            return ".".join(parts[:size])
    return None


def check_serves(tree: ast.Module) -> None:
    """Raise a ConfigError if the cell has nothing that a worker could serve."""
    wanted = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    defined = [node for node in ast.walk(tree) if isinstance(node, wanted)]
    if not any(not node.name.startswith("_") for node in defined):
        name = next(_lambdas(tree), "")
        raise ConfigError(
            "The cell defines no function to serve"
            + (f": write `def {name}(...):` instead of `{name} = lambda ...`" if name else ""),
            hint="each function whose name does not begin with _ is served, or the methods of a"
            " subclass of palm.servers.Worker",
        )


def _lambdas(tree: ast.Module) -> Iterator[str]:
    """Names that the cell gives to lambdas."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def changes(old: str, new: str, names: Collection[str]) -> list[str]:
    """Those of ``names`` whose definition differs between two sources of a cell."""
    before, after = _definitions(old), _definitions(new)
    return sorted(name for name in names if before.get(name) != after.get(name))


def _definitions(source: str) -> dict[str, str]:
    """Functions and methods by name, in a form that ignores comments, blanks and line numbers."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = found.get(node.name, "") + ast.dump(node)
    return found
