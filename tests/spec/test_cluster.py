from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.cluster import check_cluster, file_schema, parse_cluster
from palm.spec.component import ComponentSpec, replica_name
from palm.spec.lines import find_lines

SEED = """\
[cluster]
name = "seed"
[components.foo]
role = "master"
script = "master.py"
args = ["--name", "foo", "--pull", "${socket:foo.pull}", "--db", "${socket:foo.db}"]
[components.foo-worker]
role = "worker"
script = "worker.py"
args = ["--db", "${socket:foo.db}"]
replicas = 2
needs = ["foo"]
"""


def test_the_seeds_file_says_what_runs() -> None:
    config = parse_cluster(SEED)
    assert config.name == "seed"
    assert list(config.components) == ["foo", "foo-worker"]
    worker = config.components["foo-worker"]
    assert (worker.role, worker.script, worker.replicas) == ("worker", "worker.py", 2)
    assert (worker.args, worker.needs) == (["--db", "${socket:foo.db}"], ["foo"])
    assert (worker.restart, worker.grace, worker.ready) == ("on-failure", 5.0, "palm")


def test_relative_paths_begin_at_the_folder_of_the_file() -> None:
    text = '[components.a]\nscript = "x.py"\n[components.b]\nscript = "/x.py"\ncwd = "sub/.."\n'
    config = parse_cluster(text, folder="/home/me/run")
    assert (config.components["a"].script, config.components["a"].cwd) == (
        "/home/me/run/x.py",
        "/home/me/run",
    )
    assert (config.components["b"].script, config.components["b"].cwd) == ("/x.py", "/home/me/run")


def test_only_what_is_built_with_palm_has_to_say_that_it_is_ready() -> None:
    config = parse_cluster('[components.a]\ncommand = ["sleep", "9"]\n')
    assert config.components["a"].ready == "delay:0"


@pytest.mark.parametrize(
    ("value", "policy", "quota"),
    [
        ('"drop-oldest"', "drop-oldest", 1 << 30),
        ('{ quota = "2M" }', "block", 2 << 20),
        ('{ policy = "drop-oldest", quota = "none" }', "drop-oldest", None),
    ],
)
def test_spool_is_a_policy_or_a_table_of_policy_and_quota(
    value: str, policy: str, quota: int | None
) -> None:
    spec = parse_cluster(f'[components.a]\nscript = "x"\nspool = {value}').components["a"]
    assert (spec.spool, spec.spool_quota) == (policy, quota)


def test_an_empty_file_is_a_cluster_without_components() -> None:
    assert parse_cluster("").components == {}


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("[cluster\n", 1, None, "not TOML"),
        ('a = 1\n\nb = "x\n', 3, None, "not TOML"),
        ('[cluster]\nnmae = "x"\n', 2, "cluster.nmae", "did you mean 'name'?"),
        ('[cluster]\nname = "a b"\n', 2, "cluster.name", "letters"),
        ("[cluster]\nname = 3\n", 2, "cluster.name", "text"),
        ("[component.a]\n", 1, "component", "did you mean 'components'?"),
        ("[components]\n\na = 1\n", 3, "components.a", "[components.a]"),
        ('[components.a]\nscrpt = "x"\n', 2, "components.a.scrpt", "did you mean 'script'?"),
        ('[components.a]\nscript = "x"\nlimits = 1', 3, "components.a.limits", "a table"),
        (
            '[components.a]\nscript = "x"\n[components.a.limits]\nmemry = "2G"',
            4, "components.a.limits.memry", "did you mean 'memory'?",
        ),
        (
            '[components.a]\nscript = "x"\nlimits = { cpu_time = "soon" }',
            3, "components.a.limits.cpu_time", "not a duration",
        ),
        (
            '[components.a]\nscript = "x"\nlimits = { open_files = true }',
            3, "components.a.limits.open_files", "not a limit of open_files",
        ),
        (
            '[components.a]\nscript = "x"\nlimits = { memory = 12 }',
            3, "components.a.limits.memory", "the least is 1M",
        ),
        ('[components.a]\nscript = "x"\nspool = "blok"', 3, "components.a.spool", "'block'"),
        ('[components.a]\nscript = "x"\nspool = { quota = "9" }', 3, "components.a.spool.quota",
         "at least 1M"),
        ('[components.a]\nscript = "x"\nrole = "mastr"', 3, "components.a.role", "'master'"),
        ('[components.a]\nscript = "x"\nrestart = "no"', 3, "components.a.restart", "never"),
        ('[components.a]\nscript = "x"\nreplicas = "2"', 3, "components.a.replicas",
         "expected a whole number, got a text (as in replicas = 2)"),
        ('[components.a]\nscript = "x"\nreplicas = -1', 3, "components.a.replicas", "from 0"),
        ('[components.a]\nscript = "x"\nreplicas = 99999', 3, "components.a.replicas", "1024"),
        ('[components.a]\nscript = "x"\nrole = "master"\nreplicas = 2', 4,
         "components.a.replicas", "a master cannot have 2 replicas"),
        ('[components.a]\nrole = "worker"\n', 1, "components.a", "what to start"),
        ('[components.a]\nscript = "x"\nmodule = "y"', 3, "components.a.module", "both"),
        ('[components.a]\nentry = "pkg.mod"', 2, "components.a.entry", "pkg.mod:main"),
        ('[components.a]\nscript = "x"\nready = "soon"', 3, "components.a.ready", "delay:SECONDS"),
        ('[components.a]\nscript = "x"\ngrace = -1', 3, "components.a.grace", "seconds"),
        ('[components.a]\nscript = "x"\ngrace = nan', 3, "components.a.grace", "seconds"),
        ('[components.a]\nscript = "x"\nneeds = ["b"]\n[components.bb]\nscript = "y"', 3,
         "components.a.needs", "did you mean 'bb'?"),
        ('[components.a]\nscript = "x"\nneeds = ["a"]', 3, "components.a.needs", "itself"),
        ('[components.a]\nscript = "x"\nargs = [\n"--n",\n"${nmae}"]', 5, "components.a.args",
         "did you mean ${name}?"),
        ('[components.a]\nscript = "x"\nargs = ["--n=${name}"]', 3, "components.a.args",
         "whole argument"),
        ('[components.a]\nscript = "x"\nargs = ["${socket:b.db}"]', 3, "components.a.args",
         "names no component"),
        ('[components.a]\nscript = "x"\n[components.a.env]\n"A=B" = "1"', 4,
         "components.a.env.A=B", "variable"),
        ('[components."a.b"]\nscript = "x"\n', 1, "components.a.b.name", "letters"),
        ('[components.a]\nscript = "x"\nreplicas = 2\n[components.a-1]\nscript = "x"', 4,
         "components.a-1", "the name 'a-1' too"),
        ('[components.a]\nscript = "x"\nneeds = ["b"]\n[components.b]\nscript = "x"\nneeds = ["a"]',
         3, "components.a.needs", "ring"),
        ('[components.a]\nscript = "x"\nrole = "sink"\nprevious = 3', 4, "components.a.previous",
         "expected a text or a list, got a whole number"),
        ('[components.a]\nscript = "x"\nrole = "sink"\nprevious = "a"', 4,
         "components.a.previous", "its own results"),
        (('[components.a]\nscript = "x"\nrole = "sink"\nprevious = ["b/even"]\n'
         '[components.bb]\nscript = "y"\nrole = "server"'), 4,
         "components.a.previous", "did you mean 'bb'?"),
        (('[components.a]\nscript = "x"\nrole = "sink"\nprevious = "b/"\n'
         '[components.b]\nscript = "y"\nrole = "server"'), 4,
         "components.a.previous", "NAME or NAME/TOPIC"),
        ('[components.a]\nscript = "x"\nrole = "worker"\nprevious = "b"', 4,
         "components.a.previous", "it takes messages from its master"),
        ('[components.a]\nscript = "x"\nrole = "master"\nprevious = "b"', 4,
         "components.a.previous", "it takes messages from clients"),
        ('[components.a]\nscript = "x"\nprevious = "b"', 3,
         "components.a.previous", "give its role: hub, pipeline, sink"),
        (('[components.a]\nscript = "x"\nrole = "sink"\nprevious = "w"\n'
         '[components.w]\nscript = "y"\nrole = "worker"'), 4,
         "components.a.previous", "'w' is a worker, whose results go to no other component"),
        ('[components.a]\nscript = "x"\nrole = "worker"\npipelined = true', 4,
         "components.a.pipelined", "the results of a worker go to no other component"),
        (('[components.a]\nscript = "x"\nrole = "server"\npipelined = false\n'
         '[components.b]\nscript = "y"\nrole = "sink"\nprevious = "a"'), 4,
         "components.a.pipelined", "'b' takes its results"),
        (('[components.a]\nscript = "x"\nrole = "hub"\nprevious = "c"\n'
         '[components.b]\nscript = "y"\nrole = "hub"\nprevious = "a"\n'
         '[components.c]\nscript = "y"\nrole = "hub"\nprevious = "b"'), 4,
         "components.a.previous", "in a ring: a -> b -> c -> a"),
        ('[components.a]\nscript = "x"\n\n[components.a]\nargs = []', 4, "components.a",
         "this table is given twice, first on line 1"),
        ('[components.a]\nargs = [\n"x"]\nscript = "x"\nargs = [\n\n]', 5, "components.a.args",
         "this key is given twice, first on line 2"),
        ('[[components]]\nscript = "x"\n', 1, "components", "write [components.NAME]"),
        ('\n[[components.a]]\nscript = "x"\n', 2, "components.a", "write [components.a]"),
        ('[components]\na = { script = "x", replcas = 2 }\n', 2, "components.a.replcas",
         "did you mean 'replicas'?"),
        ('[components]\na = { script = "x", args = [\n"x",\n], env = { A = "1", B = 2 } }\n', 4,
         "components.a.env.B", "expected a text, got a whole number"),
        ('components.a.script = "x"\ncomponents.a.grace = "1"\n', 2, "components.a.grace",
         "expected a number, got a text (as in grace = 10.0)"),
        ('[components."\\u0061"]\n"scr\\u0070t" = "x"\n', 2, "components.a.scrpt", "'script'"),
        ('[components.a]\nscript = "x"\n[components.a.env]\nA = "1"\nB = 2\n', 5,
         "components.a.env.B", "expected a text, got a whole number"),
        ('[components.a]\ncommand = [\n"x",\n1,\n]\n', 4, "components.a.command",
         "expected a text"),
        ('[components.a]\nscript = "x"\nneeds = "b"\n', 3, "components.a.needs",
         "expected a list, got a text (as in needs = [\"foo\"])"),
        ('[components.a]\nscript = "x"\nneeds = ["zzz"]\n[components.b]\nscript = "x"', 3,
         "components.a.needs", "there are: b"),
        ('[components.a]\nscript = "x"\nneeds = ["zzz"]\n', 3, "components.a.needs",
         "there is no other component"),
        ('[components.a]\nscript = "x"\nrole = "Master"', 3, "components.a.role", "'master'"),
        ('[components.a]\nscript = "x"\nrole = 1979-05-27 07:32:00', 3, "components.a.role",
         "a date or a time"),
        ('[components.a]\nscript = "x"\nready = "tcp:70000"', 3, "components.a.ready",
         "70000 is not a port"),
        ('[components.a]\nscript = "x"\nready = "log:("', 3, "components.a.ready", "missing )"),
        ('[components.a]\nscript = "x"\nready = "tpc:80"', 3, "components.a.ready",
         "did you mean 'tcp'?"),
        ('[components.a]\ncommand = ["x"]\nkernel = true', 3, "components.a.kernel",
         'a script can, and module = "palm"'),
        ('[components.a]\nrole = worker\n', 2, None, 'a text is in quotes, as in role = "worker"'),
        ('[components.a]\nrole "worker"\n', 2, None, "KEY = VALUE"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_key_and_remedy(
    text: str, line: int, key: str | None, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_cluster(text, "my.toml")
    error = caught.value
    assert (error.file, error.line) == ("my.toml", line)
    assert error.key == key
    assert said in str(error)


def test_a_link_says_it_all() -> None:
    text = (
        '[components.last]\nrole = "sink"\nscript = "x"\nprevious = ["left", "right", "left"]\n'
        '[components.left]\nrole = "pipeline"\nscript = "x"\nprevious = "first"\n'
        '[components.right]\nrole = "hub"\nscript = "x"\nprevious = "other/even"\n'
        '[components.first]\nrole = "server"\nscript = "x"\n'
        '[components.other]\nrole = "master"\nscript = "x"\npipelined = false\n'
        '[components.alone]\nrole = "server"\nscript = "x"\npipelined = true\n'
    )
    components = parse_cluster(text).components
    assert {name: spec.previous for name, spec in components.items() if spec.previous} == {
        "last": ["left", "right"],
        "left": ["first"],
        "right": ["other/even"],
    }
    # Of what has topics, the rest goes to the client.
    pipelined = {name for name, spec in components.items() if spec.pipelined}
    assert pipelined == {"left", "right", "first", "alone"}
    assert {name: spec.stages for name, spec in components.items() if spec.stages} == {
        "left": ["last/left"],
        "right": ["last/right"],
        "first": ["left/first"],
        "other": ["right/even"],
    }
    assert not any(spec.needs for spec in components.values()), "they may start in any order"


def test_every_ring_is_told() -> None:
    text = "".join(
        f'[components.{name}]\nscript = "x"\nneeds = ["{need}"]\n'
        for name, need in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("e", "a"))
    )
    _, errors = check_cluster(text)
    assert [error.key for error in errors] == ["components.a.needs", "components.c.needs"]


def test_what_is_nested_beyond_measure_is_an_error_too() -> None:
    for text in ("a = " + "[" * 100_000, "a = " + "[" * 100_000 + "]" * 100_000):
        _, errors = check_cluster(text, "my.toml")
        assert "nested" in str(errors[0])
    rule = "log:" + "(" * 100_000
    _, errors = check_cluster(f"[components.a]\nscript = 'x'\nready = '{rule}'\n")
    assert errors[0].key == "components.a.ready"


def test_a_large_file_takes_no_time() -> None:
    one = '[components.w{}]\nscript = "x"\nargs = ["a", "b"]\nenv = {{ A = "1" }}\n'
    text = "".join(one.format(number) for number in range(8000))
    start = time.process_time()
    config, errors = check_cluster(text)
    assert not errors
    assert config is not None
    assert len(config.components) == 8000
    assert time.process_time() - start < 30, "linear; it took minutes when it was quadratic"


def test_all_errors_are_told_in_the_order_of_their_lines() -> None:
    text = '[components.a]\nscrpt = "x"\nreplicas = "2"\n[components.b]\nscript = 3\n'
    _, errors = check_cluster(text)
    assert [error.line for error in errors] == [2, 3, 5]


@pytest.mark.parametrize(
    "value",
    ["{x.__class__.__mro__}", "${x.__class__}", "%(y)s", "; rm -rf /", "$(id)", "--loglevel", "{"],
)
def test_an_argument_is_literal_or_refused_and_never_looked_into(value: str) -> None:
    config, errors = check_cluster(f'[components.A]\nscript = "x"\nargs = ["{value}"]')
    if value.startswith("${"):
        assert "no placeholder" in str(errors[0])
    else:
        assert config is not None
        assert config.components["A"].args == [value]


def test_names_keep_their_case() -> None:
    assert list(parse_cluster('[components.Foo]\nscript = "x"').components) == ["Foo"]


def test_lines_are_found_behind_strings_that_look_like_tables() -> None:
    text = (
        "a = '''\n[b]\n'''\n"
        'c = """x\\"""\n[d]"""\n'
        'e = [ # ]\n"]",\n{ x = "[" },\n]\n'
        '[ "f" . g ]\n'
        'h.i = "#"  # [z]\n'
        "[[j]]\n"
        "k = 1\n"
    )
    tomllib.loads(text)
    lines = find_lines(text)
    assert lines[("a",)] == 1
    assert lines[("c",)] == 4
    assert lines[("e",)] == 6
    assert lines[("f", "g")] == 10
    assert lines[("f", "g", "h", "i")] == 11
    assert lines[("j", "k")] == 13
    assert ("b",) not in lines
    assert ("d",) not in lines


@given(st.text())
def test_any_text_is_a_file_or_a_config_error(text: str) -> None:
    config, errors = check_cluster(text)
    assert errors or config is not None
    assert all(isinstance(error, ConfigError) for error in errors)


def _paths(table: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = set()
    for key, value in table.items():
        found.add((*path, key))
        if isinstance(value, dict):
            found |= _paths(value, (*path, key))
    return found


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}", fullmatch=True),
        st.dictionaries(
            st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(st.characters(codec="utf-8"))
        ),
        max_size=3,
    )
)
def test_every_key_of_a_document_has_its_line(document: dict[str, dict[str, str]]) -> None:
    written, number, expected = [], 0, {}
    for table, values in document.items():
        number += 1
        written.append(f"[{table}]")
        expected[(table,)] = number
        for key, value in values.items():
            number += 1
            escaped = "".join(f"\\U{ord(character):08x}" for character in value)
            written.append(f'{key} = "{escaped}"')
            expected[(table, key)] = number
    text = "\n".join(written)
    assert _paths(tomllib.loads(text)) == expected.keys()
    assert find_lines(text) == expected


def test_the_schema_is_for_editors() -> None:
    schema = file_schema()
    assert "cluster" in str(schema)
    assert "replicas" in str(schema)
    fields = schema["properties"]["components"]["additionalProperties"]["properties"]
    assert {each["type"] for each in fields["previous"]["anyOf"]} == {"string", "array"}
    assert fields["pipelined"]["type"] == "boolean"


def test_replicas_keep_their_names_when_there_are_more() -> None:
    assert [replica_name("w", "worker", n) for n in range(2)] == ["w-0", "w-1"]
    assert [replica_name("p", "process", n) for n in range(2)] == ["p", "p-1"]
    assert ComponentSpec(name="m", role="master").replica_name(0) == "m"


def test_the_file_of_a_page_of_the_interface_is_taken(tmp_path: Path) -> None:
    text = (
        '[cluster]\nname = "seed"\n[components.foo]\nrole = "master"  # x\nscript = "m.py"\n'
        'env = { A = "1" }\npython = "/usr/bin/python3"\nkernel = true\ncwd = "/"\n'
        'restart = "never"\ngrace = 2\nready = "tcp:80"\nready_timeout = 1.5\n'
    )
    foo = parse_cluster(text).components["foo"]
    assert (foo.env, foo.kernel, foo.grace, foo.restart) == ({"A": "1"}, True, 2.0, "never")


def test_a_component_may_wish_for_a_node() -> None:
    text = '[components.a]\ncommand = ["x"]\nlabels = { gpu = "yes" }\nnode = "north"\n'
    spec = parse_cluster(text).components["a"]
    assert (spec.labels, spec.node) == ({"gpu": "yes"}, "north")


@pytest.mark.parametrize(
    ("line", "key", "said"),
    [
        ('labels = { "a b" = "c" }', "labels", "cannot be a label"),
        ('labels = { gpu = "" }', "labels", "cannot be a label"),
        ("labels = { gpu = true }", "labels.gpu", "expected a text, got"),
        ('labels = "gpu"', "labels", "expected a table, got a text"),
        ('node = "a b"', "node", "cannot be the name of a node"),
        ('label = { gpu = "yes" }', "label", "no such key"),
    ],
)
def test_a_wish_that_is_none_is_told_with_its_line(line: str, key: str, said: str) -> None:
    _, errors = check_cluster(f'[components.a]\ncommand = ["x"]\n{line}\n')
    assert [(error.line, error.key) for error in errors] == [(3, f"components.a.{key}")]
    assert said in str(errors[0])
