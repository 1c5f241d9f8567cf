"""The page for those who come from pylm names all that pylm has, and what it says is so."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from palm.cli.arguments import ArgumentsError, HelpRequested, build_parser
from palm.clients import Client
from palm.servers import Hub, Master, Pipeline, Server, Sink, Worker
from palm.spec.cluster import parse_cluster
from palm_registry.handlers import ROUTES, pages
from tests.docs.inventory import ARGUMENTS, CLASSES, NAMES
from tests.support.cluster import ThreadCluster

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "migration.md"
STATUSES = {"Kept", "Renamed", "Replaced", "Left out", "Gone"}

CODE = re.compile(r"`([^`]+)`")
DOTTED = re.compile(r"palm(_registry)?(\.\w+)+")
FILE = re.compile(r"(docs|examples|registry|tests)/[\w./-]+|README\.md")
ROUTE = re.compile(r"(GET|POST|PUT|DELETE) (/|[a-z][\w./{}-]*)")
REGISTRY = re.compile(r"python -m palm_registry(?: (--[a-z-]+))?")


@dataclass(frozen=True)
class Row:
    """A row of the page."""

    pylm: str
    status: str
    palm: str

    def __str__(self) -> str:
        return self.pylm


def rows() -> Iterator[Row]:
    inside = False
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| In pylm |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            assert len(cells) == 3, line
            yield Row(*cells)


ROWS = list(rows())


# What it says is so


def is_there(name: str) -> bool | None:
    """Return whether something of palm exists; None where the text is not the name of one."""
    for pattern, exists in (
        (DOTTED, _is_importable),
        (FILE, lambda path: (ROOT / path).exists()),
        (ROUTE, _is_route),
        (REGISTRY, _is_of_the_registry),
        (re.compile(r"palm [a-z-]+( --[a-z-]+)?"), _is_command),
    ):
        if pattern.fullmatch(name):
            return exists(name)
    return None


def _is_importable(name: str) -> bool:
    try:
        resolve(name)
    except (ImportError, AttributeError):
        return False
    return True


def resolve(name: str) -> Any:
    parts = name.split(".")
    found: Any = import_module(parts[0])
    for at, part in enumerate(parts[1:], 2):
        try:
            found = getattr(found, part)
        except AttributeError:
            if not inspect.ismodule(found):
                raise
            found = import_module(".".join(parts[:at]))
    return found


def _is_route(text: str) -> bool:
    method, path = text.split()
    path = re.sub(r"\{\w+\}", "x", path.removeprefix("/"))
    handler = next(handler for pattern, handler in ROUTES if re.fullmatch(pattern, path))
    own = getattr(handler, method.lower())
    return handler is not pages.Nothing and "_unimplemented_method" not in own.__qualname__


def _is_of_the_registry(text: str) -> bool:
    match = REGISTRY.fullmatch(text)
    settings = import_module("palm_registry.settings")
    return match is not None and f'"{match[1] or "--db"}"' in inspect.getsource(settings)


def _is_command(text: str) -> bool:
    _, command, *options = text.split()
    try:
        build_parser().parse_args([command, "--help"])
    except HelpRequested as wanted:
        return all(re.search(rf"{option}\b", wanted.text) for option in options)
    except ArgumentsError:
        return False
    raise AssertionError(text)


def test_each_row_says_what_became_of_something() -> None:
    assert len(ROWS) > 150
    assert {row.status for row in ROWS} == STATUSES


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_a_row_names_is_there_or_is_not(row: Row) -> None:
    found = [(name, is_there(name.partition("(")[0])) for name in CODE.findall(row.palm)]
    checked = [(name, there) for name, there in found if there is not None]
    assert [name for name, there in checked if not there] == []
    if row.status in ("Kept", "Renamed", "Gone"):
        assert checked, f"it does not say where: {row}"


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("palm.servers.Server.echo", True),
        ("palm.servers.Server.ecko", False),
        ("palm.runtime.gone", False),
        ("palm.runtime.driver", True),
        ("tests/docs/gone.py", False),
        ("examples/parallel", True),
        ("GET api/clusters", True),
        ("GET api/gone", False),
        ("DELETE api/clusters", False),
        ("palm worker --http", True),
        ("palm worker --htt", False),
        ("palm wurker", False),
        ("python -m palm_registry --port", True),
        ("python -m palm_registry --secret", False),
        ("messages", None),
    ],
)
def test_the_check_knows_what_is_there(name: str, there: bool | None) -> None:
    assert is_there(name) is there


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_taken_by_position_and_by_name(name: str) -> None:
    parameters = [
        each
        for each in inspect.signature(resolve(name)).parameters.values()
        if each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"
    ]
    wanted = ARGUMENTS[name].split()
    assert [each.name for each in parameters[: len(wanted)]] == wanted


def test_attributes_are_on_instances(palm_home: Path) -> None:
    of_servers = ["name", "cache", "logger", "messages", "pipelined", "endpoints"]
    for server in (Server("a"), Pipeline("b", previous="a"), Sink("c", previous=["b"])):
        assert [name for name in of_servers if not hasattr(server, name)] == []
    for master in (Master("d"), Hub("e", previous="d")):
        assert [name for name in of_servers if not hasattr(master, name)] == []
    worker = Worker("w", master="d", functions={"f": str})
    assert worker.name == "w" and len(worker.uuid) == 36
    with Client("d", session="s") as client:
        assert len(client.uuid) == 36 and client.logger and client.session == "s"
    with Client("d") as client:
        assert client.session is None


@pytest.mark.parametrize("name", ["open", "close", "serve", "publish", "stop"])
def test_these_methods_belong_to_palm(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text("utf-8")
    assert hasattr(Server, name) and hasattr(Worker, name)


def test_no_other_method_does_that_pylm_left_free(palm_home: Path) -> None:
    text = PAGE.read_text("utf-8")
    for component in (Server("a"), Worker("w", master="a", functions={"f": str})):
        own = {name for name in dir(component) if not name.startswith("_")}
        own -= {"drops_none", "initialize_error"}  # nobody else would take these
        assert [name for name in own if f"`{name}`" not in text and f".{name}`" not in text] == []


# Nothing is left out


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_there_with_all_it_has(name: str) -> None:
    text = " ".join(row.pylm for row in ROWS if _says(row.pylm, name))
    assert text, name
    assert [each for each in CLASSES[name].split() if not _says(text, each)] == []


def test_each_name_is_there() -> None:
    text = "\n".join(row.pylm for row in ROWS)
    assert [name for name in NAMES.split() if not _says(text, name)] == []


def test_all_defects_are_gone() -> None:
    numbers = [row.pylm.partition(".")[0] for row in ROWS if row.status == "Gone"]
    assert numbers == [str(number) for number in range(1, 15)]


def _says(text: str, name: str) -> bool:
    if name == "Client":  # not that of etcd
        text = text.replace("etcd.Client", "")
    return re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w/-])", text) is not None


# Its samples


def samples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def changed(script: str) -> str:
    """Do to a script of pylm what the page says."""
    command = re.search(r"sed -i '(.*)' \*\.py", PAGE.read_text("utf-8"))
    assert command is not None
    done = subprocess.run(["sed", command[1]], input=script, capture_output=True, text=True)
    return re.sub(r"tcp://127\.0\.0\.1:555\d", "tcp://127.0.0.1:0", done.stdout)


def test_scripts_run_with_another_package(
    cluster: ThreadCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    before, ask, _, _ = samples("python")
    found: dict[str, Any] = {"__name__": "shouter"}
    exec(changed(before), found)
    served = cluster.serve(found["Shouter"]("shouter", db_address="tcp://127.0.0.1:0"))
    address = served.component.endpoints["db"]
    exec(changed(ask).replace("tcp://127.0.0.1:0", address), {})
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line for line in lines if line.startswith("b'")) == ["b'ONE'", "b'TWO'"]
    served.stop()


def test_scripts_of_today_run(palm_home: Path) -> None:
    _, _, server, ask = samples("python")
    process = subprocess.Popen([sys.executable, "-c", server], env=_environment())
    try:
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stdout.splitlines() if line.isupper()] == ["ONE", "TWO"]
    finally:
        process.terminate()
        assert process.wait(10) == 0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "registry")])}


def test_cluster_file_can_be_used() -> None:
    (text,) = samples("toml")
    assert set(tomllib.loads(text)["components"]) == {"valuation-worker", "valuation-master"}
    spec = parse_cluster(text, "cluster.toml")
    assert spec.components["valuation-worker"].replicas == 62
