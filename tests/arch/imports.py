"""The imports of a source tree, read from its syntax, and the rules that they follow.

Every function takes the imports of a tree and yields a line per violation, so that the rules can
be tried on a planted tree as well as on the project.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = {"palm": ".", "palm_jupyter": ".", "palm_registry": "registry"}

#: Part of the house -> parts that it may import; what those may import, it may too.
LAYERS: dict[str, tuple[str, ...]] = {
    "palm._version": (),
    "palm": ("palm._version",),
    "palm.errors": ("palm._version",),
    "palm.files": ("palm.errors",),
    "palm.wire": ("palm.errors",),
    "palm.spec": ("palm.errors",),
    "palm.protocol": ("palm.wire", "palm.spec"),
    "palm.transport": ("palm.files", "palm.spec"),
    "palm.runtime": ("palm.protocol", "palm.transport"),
    "palm.naming": ("palm.runtime", "palm.registry_api"),
    "palm.servers": ("palm.runtime", "palm.naming"),
    "palm.executors": (),
    "palm.clients": ("palm.runtime", "palm.naming", "palm.executors"),
    "palm.joblib": ("palm.clients",),
    "palm.gateways": ("palm.clients", "palm.servers"),
    "palm.parts": ("palm.clients", "palm.servers"),
    "palm.registry_api": ("palm.registry_api.schema",),
    "palm.runner": ("palm.runtime", "palm.naming", "palm.registry_api"),
    # What runs in a component's kernel, as a command does in its process; nobody imports it.
    "palm.runner.kernel": ("palm.runner.hosting",),
    "palm.runner.hosting": ("palm.cli", "palm.runner"),
    "palm.engines": ("palm.clients", "palm.runner"),
    "palm.clusters": ("palm.clients", "palm.runner", "palm.engines"),
    "palm.cli.parser": ("palm.spec",),
    "palm.cli.tree": ("palm.spec", "palm.cli.parser"),
    "palm.cli.overview": ("palm.cli.parser",),
    "palm.cli.arguments": ("palm.cli.overview", "palm.cli.tree"),
    "palm.doctor": ("palm.clusters",),
    "palm.cli": (
        "palm.servers",
        "palm.gateways",
        "palm.engines",
        "palm.clusters",
        "palm.doctor",
        "palm.cli.arguments",
    ),
    "palm.__main__": ("palm.cli",),
    "palm.registry_api.schema": ("palm.spec",),
    "palm_registry": ("palm.files", "palm.spec", "palm.registry_api.schema"),
    "palm_jupyter.viewmodels": ("palm.spec", "palm.registry_api.schema"),
    "palm_jupyter": ("palm_jupyter.viewmodels",),
}
#: The notebook shows what stands on top of the house, and nothing of its inside.
DIRECT: dict[str, tuple[str, ...]] = {
    "palm_jupyter": ("palm.clients", "palm.clusters", "palm.cli.arguments", "palm.registry_api"),
}
#: Names that are imported where they are used: the user of ``palm`` should not wait for them.
LAZY_PARTS = {"palm": ("palm.clients", "palm.clusters", "palm.servers", "palm.errors")}

#: Packages and modules whose rules must run without a machine.
PURE = (
    "palm.wire",
    "palm.spec",
    "palm.protocol",
    "palm.registry_api.schema",
    "palm.runner.supervisor",
    "palm_jupyter.viewmodels",
)
IMPURE = {
    "asyncio", "concurrent", "fcntl", "glob", "http", "io", "multiprocessing", "os", "pathlib",
    "psutil", "queue", "random", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "sqlalchemy", "ssl", "subprocess", "tempfile", "threading", "time", "tornado", "urllib", "uuid",
    "zmq",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input"}

#: Library -> the modules, or folders of modules, that alone may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "zmq": (
        "palm.transport.keys",
        "palm.transport.monitored",
        "palm.transport.multipart",
        "palm.transport.security",
        "palm.transport.zmq",
    ),
    "sqlalchemy": ("palm_registry.models", "palm_registry.store", "palm_registry.migrations"),
    "tornado": (
        "palm.gateways",
        "palm.registry_api.live",
        "palm_registry.app",
        "palm_registry.handlers",
        "palm_registry.server",
        "palm_registry.__main__",
    ),
    "IPython": (
        "palm_jupyter.panels",
        "palm_jupyter.magics",
        "palm_jupyter.completion",
        "palm_jupyter.__init__",
    ),
    "ipywidgets": ("palm_jupyter.panels",),
    "anywidget": ("palm_jupyter.panels",),
    "pandas": ("palm.clients.frame", "palm.clusters.load", "palm.clusters.status"),
    "psycopg": ("palm_registry.store.postgresql",),
    "distributed": (
        "palm.engines.daskpool",
        "palm.engines.daskworker",
        "palm.engines.scheduler",
    ),
    "dask": ("palm.engines.daskpool",),
    "asyncssh": ("palm.engines.ssh",),
    "prometheus_client": ("palm_registry.exposition",),
}
#: What the library may load in its own right, besides the standard library.
LIGHT = {"zmq", "msgspec"}
#: Imported inside functions, since few need it and it is slow to load -> the modules that do so.
LATE: dict[str, tuple[str, ...]] = {
    "IPython": ("palm_jupyter.completion",),
    "asyncssh": ("palm.engines.ssh",),
    "cryptography": ("palm_registry.certificate",),
    "jupyter_client": ("palm.cli.kernels",),
    "pyarrow": ("palm.cli.items",),
    "cloudpickle": ("palm.clusters.source", "palm.runtime.targets", "palm.wire.codec"),
    "palm.cli.completing": ("palm.cli.__init__",),
    "palm.cli.background": (
        "palm.cli.commands.hub",
        "palm.cli.commands.master",
        "palm.cli.commands.serving",
        "palm.cli.commands.worker",
    ),
    "palm.gateways.httpworker": ("palm.cli.commands.worker",),
    "palm.clients": ("palm.clusters.cluster",),
    "palm.clients.executor": ("palm.clients.client",),
    "palm.clients.sharded": ("palm.clients.client", "palm.clients.links"),
    "palm.clients.frame": ("palm.clients.client", "palm.clients.job", "palm.clients.source"),
    "palm.naming.elsewhere": ("palm.naming.__init__",),
    "palm.runtime.joinstore": ("palm.servers.sink",),
    "palm.runtime.journal": ("palm.servers.listening",),
    "palm.servers.outsourced": ("palm.servers.worker",),
    "palm.servers.picture": ("palm.servers.topology",),
    "palm.runtime.sqlitecache": ("palm.runtime.cache",),
    "distributed": ("palm.engines.daskpool", "palm.engines.scheduler"),
    "dask": ("palm.engines.daskpool",),
    "palm._version": ("palm.engines.daskpool",),
    "palm.cli.commands.providing": ("palm.cli.commands.nodes",),
    "palm.engines.daskpool": ("palm.clusters.pools",),
    "palm.engines": ("palm.cli.commands.worker",),
    "palm.engines.dask": ("palm.cli.commands.worker",),
    "palm.engines.named": ("palm.cli.commands.worker",),
    "palm.registry_api.live": (
        "palm.cli.commands.events",
        "palm.cli.commands.logs",
        "palm.registry_api.calls.live",
    ),
    "palm_jupyter.magics": ("palm_jupyter.__init__",),
    "palm_jupyter.panels": ("palm_jupyter.magics",),
    "psycopg": ("palm_registry.store.postgresql",),
    "pandas": ("palm.clusters.load", "palm.clusters.status"),
    "psutil": ("palm.runtime.usage", "palm.runtime.records", "palm.runtime.processes"),
    "prometheus_client": ("palm_registry.exposition",),
    "rich": (
        "palm.cli.clusterfiles",
        "palm.cli.commands.top",
        "palm.cli.progress",
        "palm.cli.tables",
    ),
}


@dataclass(frozen=True)
class Import:
    """One imported module, ``target``, and how ``module`` imports it."""

    module: str
    target: str
    line: int
    inside_function: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"

    @property
    def library(self) -> str:
        """The top package of the target."""
        return self.target.partition(".")[0]


@dataclass(frozen=True)
class Tree:
    """A source tree: its modules by name, and their imports."""

    modules: dict[str, ast.Module] = field(repr=False)
    imports: tuple[Import, ...] = field(repr=False)

    @classmethod
    def read(cls, root: Path) -> Tree:
        """Parse every module of the three packages below ``root``."""
        modules = {}
        for package, folder in PACKAGES.items():
            for path in sorted((root / folder / package).rglob("*.py")):
                parts = path.relative_to(root / folder).with_suffix("").parts
                modules[".".join(parts)] = ast.parse(path.read_text("utf-8"), str(path))
        imports = [
            found for name, tree in modules.items() for found in _imports(name, tree, modules)
        ]
        return cls(modules, tuple(imports))


def _imports(name: str, tree: ast.Module, modules: Iterable[str]) -> Iterator[Import]:
    """Yield what a module imports, ``from package import module`` as the module."""
    known = {module.removesuffix(".__init__") for module in modules}
    stack: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while stack:
        node, inside, types = stack.pop()
        for target in _targets(node, known):
            yield Import(name, target, node.lineno, inside, types)  # type: ignore[attr-defined]
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        type_block = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        stack += [
            (child, inside, types or (type_block and child in node.body))  # type: ignore[attr-defined]
            for child in ast.iter_child_nodes(node)
        ]


def _targets(node: ast.AST, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            yield "." * node.level + base
        elif base != "__future__":
            names = {f"{base}.{alias.name}" for alias in node.names}
            yield from sorted(names & known)
            if names - known:
                yield base
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        yield from (str(text.value) for text in node.args[:1] if isinstance(text, ast.Constant))


def part_of(name: str) -> str:
    """The part of the house that a module is in: the longest name of ``LAYERS`` it begins with.

    Empty for what is not in the house, and for a new part that ``LAYERS`` does not know.
    """
    name = module = name.removesuffix(".__init__")
    while module not in LAYERS and module:
        module = module.rpartition(".")[0]
    whole = module == "palm" and module != name
    return "" if whole else module


def reach(part: str) -> set[str]:
    """Every part that one may import, itself included."""
    allowed = {part}.union(*map(reach, LAYERS[part]))
    return allowed | set(DIRECT.get(part, ())) | {"palm._version"}


def against_the_layers(tree: Tree) -> Iterator[str]:
    """Imports that go up or across the house, for types too."""
    for found in tree.imports:
        source, target = part_of(found.module), part_of(found.target)
        if found.target.startswith("."):
            yield f"{found}: relative imports hide the layers"
        elif found.library in PACKAGES and not (source and target):
            yield f"{found}: LAYERS in {Path(__file__).name} does not know that part"
        elif target and target not in reach(source) and not _is_lazy(found, source, target):
            yield f"{found}: {source} may import {', '.join(sorted(reach(source) - {source}))}"


def _is_lazy(found: Import, source: str, target: str) -> bool:
    late = found.inside_function or found.for_types
    return late and target in LAZY_PARTS.get(source, ())


def cycles(tree: Tree) -> Iterator[str]:
    """A ring of modules that import one another when they are run, inside functions or not."""
    known = {module.removesuffix(".__init__") for module in tree.modules}
    graph: dict[str, set[str]] = {module: set() for module in known}
    for found in tree.imports:
        source = found.module.removesuffix(".__init__")
        lazy = _is_lazy(found, part_of(source), part_of(found.target))
        if found.target in known and not found.for_types and not lazy:
            graph[source].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " <- ".join(error.args[1])


def impurities(tree: Tree) -> Iterator[str]:
    """Imports and calls by which a pure module would touch the machine."""
    for found in tree.imports:
        if found.library in IMPURE and is_below(found.module, PURE) and not found.for_types:
            yield f"{found}, but it is pure"
    for module, source in tree.modules.items():
        if is_below(module, PURE):
            yield from (
                f"{module}:{line} calls {call}, but it is pure" for call, line in _calls(source)
            )


def _calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in IMPURE_CALLS or name.endswith((".now", ".utcnow", ".today")):
                yield name, node.lineno


def away_from_home(tree: Tree) -> Iterator[str]:
    """Libraries imported by modules that are not their home."""
    for found in tree.imports:
        homes = HOMES.get(found.library)
        if homes and not is_below(found.module, homes) and not found.for_types:
            yield f"{found}: only {', '.join(homes)} may"


def late_imports(tree: Tree) -> Iterator[str]:
    """Imports inside functions that nobody has agreed to; the standard library may be late."""
    for found in tree.imports:
        agreed = any(is_below(found.target, [late]) for late in LATE if found.module in LATE[late])
        lazy = _is_lazy(found, part_of(found.module), part_of(found.target))
        standard = found.library in sys.stdlib_module_names
        if found.inside_function and not (agreed or lazy or standard):
            yield f"{found} inside a function"


def stale_exceptions(tree: Tree) -> Iterator[str]:
    """Late imports that were agreed to and are no longer made."""
    for late, modules in LATE.items():
        for module in modules:
            made = (found for found in tree.imports if found.module == module)
            if not any(found.inside_function and is_below(found.target, [late]) for found in made):
                yield f"{module} no longer imports {late} inside a function: take it out of LATE"


def is_below(module: str, places: Iterable[str]) -> bool:
    """Whether a module is one of the places or in a package of theirs."""
    return any(module == place or module.startswith(f"{place}.") for place in places)
