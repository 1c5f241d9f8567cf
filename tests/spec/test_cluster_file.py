"""Cluster files however they are written: where an error is, and what an editor says of it."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from palm.spec.cluster import check_cluster, file_schema
from palm.spec.filetables import ComponentTable

ROOT = Path(__file__).parents[2]
SCHEMA = Draft7Validator(file_schema())

# ---- any layout


@dataclass
class Document:
    """A file while it is written; ``lines`` is where each key of a component stands."""

    text: str = ""
    lines: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1


VALUES: dict[str, list[Any]] = {
    "args": [[], ["a", "b]#"], ["${name}", "$${x}"], ["${socket:a.db}"]],
    "replicas": [0, 3],
    "needs": [[]],
    "env": [{}, {"A": "1"}, {"A": "1", "B": "[x]"}],
    "cwd": ["data", "q'uote"],
    "grace": [1, 2.5],
    "restart": ["never"],
    "ready": ["delay:1", "log:[a-z] = #"],
    "spool": ["drop-oldest", {"policy": "block", "quota": "2G"}, {"quota": "none"}],
}
#: Something wrong with a value of each key.
WRONG: dict[str, list[Any]] = {
    "script": [3, [], True],
    "args": ["x", [1], ["x", "y", 2], ["${nmae}"], ["a", "${socket:zz.db}"], ["--n=${name}"]],
    "replicas": ["2", -1, 5000, 1.5, True],
    "needs": ["a", ["nobody"], [["a"]]],
    "env": ["x", {"A": 1}, {"A": "1", "B": []}, {"A=": "1"}],
    "cwd": [1, {}],
    "grace": ["1", -1, True],
    "restart": ["alway", 1],
    "ready": ["soon", "tcp:99999", "log:(", 1],
    "spool": ["drop", 1, {"policy": "blok"}, {"quta": "1G"}, {"quota": "1K"}, {"quota": 5}],
}


def toml(value: Any, draw: Any) -> str:
    """A value as TOML; lists may go over several lines."""
    if isinstance(value, list):
        gap = draw(st.sampled_from(["", " ", "\n  ", '  # ] } "\n'])) if value else ""
        inner = "".join(f"{gap}{toml(each, draw)}{',' if gap else ', '}" for each in value)
        end = draw(st.sampled_from(["", "\n"])) if gap else ""
        return f"[{inner if gap else inner.removesuffix(', ')}{end}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(k)} = {toml(v, draw)}" for k, v in value.items()) + " }"
    if isinstance(value, str) and "'" not in value and draw(st.booleans()):
        return f"'{value}'"
    return json.dumps(value)


def quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str, int, str]:
    """A file with one wrong key: its text, the component, the line and the key."""
    names = ["a", *draw(st.lists(st.sampled_from(["b", "c-1", "d_2"]), unique=True))]
    tables = {}
    for name in names:
        keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True))
        tables[name] = {"script": f"{name}.py"} | {
            key: draw(st.sampled_from(VALUES[key])) for key in keys
        }
    name = draw(st.sampled_from(names))
    key = draw(st.sampled_from(sorted(tables[name])))
    if draw(st.booleans()):
        tables[name][key] = draw(st.sampled_from(WRONG[key]))
        wrong = key
    else:
        wrong = f"{key[:1]}{key[2:]}x"
        tables[name] = {wrong if k == key else k: v for k, v in tables[name].items()}
    document = Document(draw(st.sampled_from(["", "# [components.a]\n", "\n\n"])))
    if draw(st.booleans()):
        document.text += "[cluster]\nname = 'x'\n"
    for each, table in tables.items():
        write(document, each, table, draw)
    text = document.text
    tomllib.loads(text)
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return text, name, document.lines[name, wrong], wrong


def write(document: Document, name: str, table: dict[str, Any], draw: st.DrawFn) -> None:
    style = draw(st.sampled_from(["table", "quoted", "keys", "inline"]))
    if style == "inline":
        document.text += f"[components]\n{name} = {{ " if "[components]" not in document.text else (
            f"[components.{name}]\n"
        )  # fmt: skip
        inline = not document.text.endswith("]\n")
    else:
        header = json.dumps(name) if style == "quoted" else name
        document.text += f"  [ components . {header} ]  # {{\n"
        inline = False
    for number, (key, value) in enumerate(table.items()):
        if number and inline:
            document.text += ", "
        if isinstance(value, dict) and value and not inline and style == "keys":
            document.lines[name, key] = document.line
            for inner, each in value.items():
                document.text += f"{key}.{quoted(inner)} = {toml(each, draw)}\n"
            continue
        document.lines[name, key] = document.line
        written = json.dumps(key) if style == "quoted" else key
        document.text += f"{written} = {toml(value, draw)}" + ("" if inline else "\n")
    document.text += " }\n" if inline else "\n"


@given(documents())
def test_wherever_one_key_is_wrong_the_error_names_it_and_its_line(
    found: tuple[str, str, int, str],
) -> None:
    text, name, line, key = found
    _, errors = check_cluster(text, "my.toml")
    assert errors, text
    values = tomllib.loads(text)["components"][name]
    end = line + last_line(text, line)
    for error in errors:
        assert error.file == "my.toml"
        assert error.key is not None
        assert error.key.startswith(f"components.{name}.{key}"), (str(error), text)
        # An element that is wrong may be further down.
        assert line <= (error.line or 0) <= end, (str(error), text)
        if not isinstance(values.get(key), list | dict):
            assert error.line == line, (str(error), text)
        assert error.hint or error.args[0]


def last_line(text: str, line: int) -> int:
    """How many lines further the value goes that begins on a line."""
    lines = text.replace("\r", "").split("\n")[line - 1 :]
    for count in range(len(lines)):
        if count + 1 == len(lines) or not re.match(r"\s*(['\"\]\[0-9{-]|#)", lines[count + 1]):
            return count + 1
    return len(lines)


@given(documents())
def test_what_an_editor_says_of_a_value_the_registry_says_too(
    found: tuple[str, str, int, str],
) -> None:
    """An editor may know less than the registry, and nothing that is not so."""
    text, *_ = found
    if list(SCHEMA.iter_errors(tomllib.loads(text))):
        assert check_cluster(text)[1]


# ---- the schema


def files() -> dict[str, str]:
    """Every cluster file of the project, and of its pages."""
    page = (ROOT / "docs" / "cluster-file.md").read_text("utf-8")
    found = {
        f"docs/cluster-file.md, {number}": text
        for number, text in enumerate(re.findall(r"```toml\n(.*?)```", page, re.DOTALL))
    }
    for path in sorted((ROOT / "examples").glob("*/cluster.toml")):
        found[str(path.relative_to(ROOT))] = path.read_text("utf-8")
    assert len(found) >= 5
    return found


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_every_cluster_file_that_is_shown_is_taken(name: str) -> None:
    config, errors = check_cluster(FILES[name], name)
    assert not errors
    assert config is not None
    assert config.components
    SCHEMA.validate(tomllib.loads(FILES[name]))


@pytest.mark.parametrize(
    "change",
    [
        ("replicas = 2", "replcas = 2"),
        ("replicas = 2", 'replicas = "2"'),
        ("replicas = 2", "replicas = 2000"),
        ('role = "worker"', 'role = "wroker"'),
        ('script = "worker.py"', ""),
        ('script = "worker.py"', 'script = "worker.py"\nmodule = "x"'),
        ('script = "worker.py"', 'script = "worker.py"\nready = "soon"'),
        ('script = "worker.py"', 'script = "worker.py"\nenv = { A = 1 }'),
        ('script = "worker.py"', 'script = "worker.py"\ngrace = -1'),
        ('needs = ["foo"]', "needs = [1]"),
        ('name = "seed"', 'name = "a b"'),
        ('name = "seed"', 'nmae = "a"'),
        ("[components.foo-worker]", '[components."foo worker"]'),
        ("[cluster]", "[clutser]"),
    ],
)
def test_an_editor_sees_what_is_wrong(change: tuple[str, str]) -> None:
    text = FILES["examples/parallel/cluster.toml"]
    assert change[0] in text
    broken = text.replace(*change)
    assert list(SCHEMA.iter_errors(tomllib.loads(broken)))
    assert check_cluster(broken)[1]


def test_every_key_is_explained_with_an_example() -> None:
    schema = file_schema()
    Draft7Validator.check_schema(schema)
    assert schema["$id"] == "cluster.json"
    assert "$ref" not in json.dumps(schema)
    component = schema["properties"]["components"]["additionalProperties"]
    assert component["properties"].keys() == set(ComponentTable.__struct_fields__)
    for key, each in component["properties"].items():
        assert each["description"].endswith("."), key
        way = {} if key in ("script", "module", "entry", "command") else {"command": ["x"]}
        SCHEMA.validate({"components": {"a": {**way, key: each["examples"][0]}}})
    assert component["properties"]["role"]["default"] == "process"
    assert component["additionalProperties"] is False
