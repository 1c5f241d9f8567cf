"""Who may import whom (CONTRIBUTING.md), and what an import may cost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.arch.imports import (
    Tree,
    against_the_layers,
    away_from_home,
    cycles,
    impurities,
    late_imports,
    stale_exceptions,
)

ROOT = Path(__file__).parents[2]
Rule = Callable[[Tree], Iterator[str]]
RULES: list[Rule] = [against_the_layers, away_from_home, cycles, impurities, late_imports]


@pytest.fixture(scope="module")
def project() -> Tree:
    return Tree.read(ROOT)


@pytest.mark.parametrize("rule", RULES)
def test_project_keeps_the_rule(project: Tree, rule: Rule) -> None:
    found = "\n".join(rule(project))
    assert not found, f"\n{found}"


@pytest.mark.parametrize(
    ("rule", "path", "source", "said"),
    [
        (against_the_layers, "palm/wire/a.py", "from palm.protocol import master", "palm.wire.a:1"),
        (against_the_layers, "palm/wire/a.py", "def f():\n import palm.spec.b", "palm.wire.a:2"),
        (against_the_layers, "palm/spec/a.py", "from palm import Client", "palm.spec.a:1"),
        (against_the_layers, "palm/servers/a.py", "import palm.clients.job", "palm.clients"),
        (against_the_layers, "palm/cli/a.py", "import palm_jupyter.magics", "palm_jupyter"),
        (against_the_layers, "palm/wire/a.py", "from . import b", "relative"),
        (against_the_layers, "palm/wire/a.py", "import palm.novelty", "does not know"),
        (against_the_layers, "palm_jupyter/a.py", "import palm.runtime.driver", "palm.runtime"),
        (against_the_layers, "palm/spec/a.py", "import_module('palm.cli')", "palm.cli"),
        (
            against_the_layers,
            "palm/spec/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from palm.clients import Job",
            "palm.spec.a:3",
        ),
        (away_from_home, "palm/servers/a.py", "import zmq.asyncio", "zmq.asyncio"),
        (away_from_home, "palm_jupyter/session.py", "from IPython import get_ipython", "IPython"),
        (away_from_home, "registry/palm_registry/a.py", "import sqlalchemy as sa", "sqlalchemy"),
        (away_from_home, "palm/clients/job.py", "def f():\n import pandas", "pandas"),
        (cycles, "palm/wire/a.py", "def f():\n from palm.wire import b", "palm.wire.a"),
        (impurities, "palm/protocol/a.py", "import time", "time"),
        (impurities, "palm/protocol/a.py", "def f():\n from os.path import join", "os.path"),
        (impurities, "palm/spec/a.py", "text = open('file')", "open"),
        (impurities, "palm/spec/a.py", "from datetime import datetime\nn = datetime.now()", "now"),
        (impurities, "palm_jupyter/viewmodels/a.py", "import threading", "threading"),
        (late_imports, "palm/spec/a.py", "def f():\n import numpy", "inside a function"),
        (late_imports, "palm/spec/a.py", "def f():\n from palm import errors", "inside a function"),
    ],
)  # fmt: skip
def test_planted_violation_is_found(
    tmp_path: Path, rule: Rule, path: str, source: str, said: str
) -> None:
    planted = {
        "palm/__init__.py": "",
        "palm/errors.py": "",
        "palm/wire/b.py": "from palm.wire import a",
        "palm/clients/job.py": "",
        path: source,
    }
    for name, text in planted.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = list(rule(Tree.read(tmp_path)))
    assert len(found) == 1
    assert said in found[0]


def test_lawful_tree_is_clean(tmp_path: Path) -> None:
    planted = {
        "palm/__init__.py": "def __getattr__(name):\n    from palm.clients import Client",
        "palm/clients/__init__.py": "from palm.clients.client import Client\nimport palm.runtime.a",
        "palm/clients/client.py": "import time, threading\nfrom palm._version import __version__",
        "palm/protocol/a.py": "import palm.wire.b\nfrom palm.spec import c",
        "palm/transport/zmq.py": "import zmq\ndef f():\n    import socket",
        "palm_jupyter/magics.py": "from palm.clusters import Cluster\nfrom IPython import x",
    }
    for name, text in planted.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    tree = Tree.read(tmp_path)
    assert [line for rule in RULES for line in rule(tree)] == []


def test_every_exception_is_still_needed(project: Tree) -> None:
    assert list(stale_exceptions(project)) == []


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement adds to a fresh interpreter."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_palm_loads_nothing_else() -> None:
    libraries = {name.partition(".")[0] for name in loaded_by("import palm")}
    assert libraries - sys.stdlib_module_names == {"palm"}
    assert {name for name in loaded_by("import palm") if name.startswith("palm")} == {
        "palm",
        "palm._version",
    }


@pytest.mark.parametrize(
    "component",
    ["palm.servers import Master", "palm.servers import Worker", "palm.clients import Client"],
)
def test_component_loads_only_zmq_and_msgspec(component: str) -> None:
    loaded = loaded_by(f"from {component}")
    # typing_extensions is pyzmq's own
    libraries = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert {name for name in libraries if not name.startswith("_")} <= {
        "cython_runtime",
        "msgspec",
        "palm",
        "typing_extensions",
        "zmq",
    }
    slow = {"asyncio", "concurrent.futures", "logging.config", "multiprocessing", "http", "ssl"}
    assert slow & loaded == set()


def test_worker_loads_no_rules_of_a_master() -> None:
    loaded = loaded_by("from palm.servers import Worker")
    assert "palm.protocol.worker" in loaded
    assert "palm.protocol.master" not in loaded


def test_importing_the_notebook_package_registers_nothing() -> None:
    assert "IPython" not in loaded_by("import palm_jupyter")
