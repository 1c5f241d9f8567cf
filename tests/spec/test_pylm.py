"""Cluster files of pylm-registry, written afresh from its documented format."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.cluster import parse_cluster
from palm.spec.component import ComponentSpec
from palm.spec.placeholder import parse_argument
from palm.spec.pylm import Imported, import_pylm
from palm.spec.tomltext import item

PRICES = """\
[Price Master]
Script = python3 price_master.py
--pull = _1
--pub = _2
--workerpull = _3
--workerpush = _4
--db = _5

[Price Worker]
Script = python3 price_worker.py
--db = _5
Connected = Price Master
Role = Worker
Replicas = 2
"""


def components(found: Imported) -> dict[str, ComponentSpec]:
    return parse_cluster(found.text).components


def one(section: str, **options: Any) -> tuple[ComponentSpec, Imported]:
    """The component of a file with one section more than `PRICES`."""
    found = import_pylm(f"{PRICES}[x]\n{section}\n", "my.conf", **options)
    return components(found)["x"], found


def told(found: Imported, line: int) -> list[str]:
    return [str(flaw.error) for flaw in found.flaws if flaw.error.line == line]


def test_a_master_and_its_workers_share_their_addresses() -> None:
    found = import_pylm(PRICES, "conf/prices.conf")
    assert (found.cluster, found.runs) == ("prices", True)
    master, worker = components(found).values()
    assert (master.name, master.role, master.script) == (
        "price-master",
        "master",
        "price_master.py",
    )
    assert master.args == [
        "--pull", "${socket:price-master.pull}",
        "--pub", "${socket:price-master.pub}",
        "--workerpull", "${socket:price-master.workerpull}",
        "--workerpush", "${socket:price-master.workerpush}",
        "--db", "${socket:price-master.db}",
    ]  # fmt: skip
    assert (worker.name, worker.role, worker.replicas) == ("price-worker", "worker", 2)
    assert (worker.args, worker.needs) == (["--db", "${socket:price-master.db}"], ["price-master"])
    assert "# [Price Worker], line 9\n" in found.text


def test_29_replicas_mean_as_many_unless_the_ancestors_are_asked_for() -> None:
    found = import_pylm(PRICES, "my.conf")
    (said,) = told(found, 14)
    assert said == (
        "my.conf:14: [Price Worker] Replicas: 2 here; pylm started 3, one more than this says"
        " (--pylm-replicas gives 3)"
    )
    assert "pylm started 3" in found.text
    as_there = import_pylm(PRICES, "my.conf", pylm_replicas=True)
    assert components(as_there)["price-worker"].replicas == 3
    assert as_there.flaws == []
    assert "# Replicas = 2 there, of which pylm started 3\n" in as_there.text


@pytest.mark.parametrize(
    ("section", "plain", "there"),
    [
        ("Script = a", 1, 1),
        ("Script = a\nReplicas = 0", 0, 1),
        ("Script = a\nReplicas = -1", 0, 0),
        ("Script = a\nreplicas=7", 7, 8),
        ("Script = a\nRole = Worker\nReplicas = 1023", 1023, 1024),
        ("Script = a\n--pull = _a\n--pub = _b\nReplicas = 1", 1, 1),  # its addresses are taken
    ],
)
def test_as_many_run_as_are_asked_for(section: str, plain: int, there: int) -> None:
    assert one(section)[0].replicas == plain
    spec, found = one(section, pylm_replicas=True)
    assert spec.replicas == there
    assert found.runs


def test_numbers_that_cannot_be_are_told() -> None:
    spec, found = one("Script = a\nReplicas = many")
    assert (spec.replicas, found.runs) == (1, False)
    assert "'many' is not a number" in told(found, 17)[0]
    spec, found = one("Script = a\nRole = Worker\nReplicas = 1024", pylm_replicas=True)
    assert (spec.replicas, found.runs) == (1024, False)
    spec, found = one("Script = a\n--pull = _a\n--pub = _b\nReplicas = 3")
    assert (spec.role, spec.replicas, found.runs) == ("server", 1, True)
    assert "a server cannot have 3 replicas" in told(found, 19)[0]


def test_30_services_whose_names_begin_alike_are_two() -> None:
    text = "[Val]\nScript = a\n[Valuation]\nScript = b\nReplicas = 3\n[val]\nScript = c\n"
    found = import_pylm(text, "x")
    assert {name: spec.replicas for name, spec in components(found).items()} == {
        "Val": 1, "Valuation": 3, "val": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("script", "start", "args"),
    [
        ("python3 a.py", ("script", "a.py"), []),
        ("python a.py b 'c d' \"\"", ("script", "a.py"), ["b", "c d", ""]),
        ("python3 -u a.py -x", ("script", "a.py"), ["-x"]),
        ("/opt/env/bin/python3.9 a.py", ("script", "a.py"), []),
        ("python3 -m pkg.mod --go", ("module", "pkg.mod"), ["--go"]),
        ("python3 -c 'print(1)'", ("command", ["python3", "-c", "print(1)"]), []),
        ("tools/a.py 1", ("script", "tools/a.py"), ["1"]),
        ("a.py", ("script", "a.py"), []),
        ("gunicorn -w 4 web:app", ("command", ["gunicorn", "-w", "4", "web:app"]), []),
        ("a.py don't", ("script", "a.py"), ["don't"]),
        ("python3 a.py --db={_5} {_5}", ("script", "a.py"),
         ["--db", "${socket:price-master.db}", "${socket:price-master.db}"]),
        ("prog {x} {0.__class__} {", ("command", ["prog", "{x}", "{0.__class__}", "{"]), []),
        ("prog\n  over ${lines}", ("command", ["prog", "over", "$${lines}"]), []),
    ],
)  # fmt: skip
def test_every_way_to_start_a_service_has_its_own(
    script: str, start: tuple[str, object], args: list[str]
) -> None:
    spec, found = one(f"Script = {script}")
    assert (getattr(spec, start[0]), spec.args) == (start[1], args)
    assert found.runs


def test_another_interpreter_is_kept_by_its_path_and_told_by_its_version() -> None:
    spec, found = one("Script = /opt/env/bin/python3.9 a.py")
    assert (spec.python, told(found, 16)) == ("/opt/env/bin/python3.9", [])
    spec, found = one("Script = python3.6 a.py")
    assert spec.python == ""
    assert "palm's own Python runs it, not python3.6" in told(found, 16)[0]


@pytest.mark.parametrize(
    ("options", "args"),
    [
        ("--name = foo", ["--name", "foo"]),
        ("--Name = foo", ["--Name", "foo"]),
        ("--rate = 100%", ["--rate", "100%"]),
        ("--rate = %(home)s", ["--rate", "%(home)s"]),
        ('--json = {"a": 1}', ["--json", '{"a": 1}']),
        ("--x = {0.__class__}", ["--x", "{0.__class__}"]),
        ("--x = ${name}", ["--x", "$${name}"]),
        ("--verbose", ["--verbose"]),
        ("--verbose =", ["--verbose"]),
        ("--text = ä b", ["--text", "ä b"]),
        ("--db : {_5}", ["--db", "${socket:price-master.db}"]),
        ("--url = tcp://127.0.0.1:5555", ["--url", "tcp://127.0.0.1:5555"]),
    ],
)
def test_33_an_option_is_given_as_it_was_written(options: str, args: list[str]) -> None:
    spec, found = one(f"Script = a\n{options}")
    assert spec.args == args
    assert found.runs


def test_33_who_knows_that_case_was_lost_there_is_told() -> None:
    _, found = one("Script = a\n--workerPull = _9")
    assert "pylm gave the script --workerpull" in told(found, 17)[0]


def test_an_address_that_nobody_has_is_told_with_the_nearest() -> None:
    _, found = one("Script = a --db {_database}\n--pull = _databasis")
    assert not found.runs
    (said,) = told(found, 16)
    assert said.endswith("no section has an address _database (did you mean _databasis?)")
    _, found = one("Script = a --db=x{_1}y")
    assert not found.runs
    assert "can only be a whole argument" in told(found, 16)[0]
    # A number that only one who connects has was most likely meant to be another.
    _, found = one("Script = a\nConnected = Price Master\n--db = _6")
    assert found.runs
    assert "no other section has _6 (there are: _1, _2, _3, _4, _5)" in told(found, 18)[0]


@pytest.mark.parametrize(
    ("section", "role"),
    [
        ("Role = Worker", "worker"),
        ("role = worker\n--pull = _a\n--pub = _b", "worker"),
        ("Role = Master", "master"),
        ("", "process"),
        ("--db = _5", "process"),
        ("--pull = _a\n--pub = _b\n--wpull = _c", "master"),
        ("--pull = _a\n--pub = _b", "server"),
        ("--sub = _2\n--pub = _b", "pipeline"),
        ("--sub = _2\n--worker-push = _b", "hub"),
    ],
)
def test_the_role_follows_from_what_it_says_and_takes(section: str, role: str) -> None:
    assert one(f"Script = a\n{section}")[0].role == role


def test_a_word_that_is_mistyped_is_told_with_the_nearest() -> None:
    _, found = one("Script = a\nRole = Wroker\nReplica = 3\nConected = Price Master\nColour = 1")
    assert "did you mean Worker?" in told(found, 17)[0]
    assert "did you mean Replicas?" in told(found, 18)[0]
    assert "did you mean Connected?" in told(found, 19)[0]
    assert "it is left out" in told(found, 20)[0]
    assert "# Replica = 3: pylm had no use for it" in found.text
    spec, found = one("Script = a\nConnected = Price Mister, Price Master")
    assert spec.needs == ["price-master"]
    assert "did you mean Price Master?" in told(found, 17)[0]


def test_who_waits_for_one_another_waits_no_more() -> None:
    text = "".join(
        f"[{name}]\nScript = x\nConnected = {other}\n" for name, other in ("ab", "bc", "ca", "dd")
    )
    found = import_pylm(text, "my.conf")
    assert {name: spec.needs for name, spec in components(found).items()} == {
        "a": ["b"], "b": ["c"], "c": [], "d": [],
    }  # fmt: skip
    assert len(told(found, 9)) == len(told(found, 12)) == 1


def test_what_cannot_be_started_is_left_out_and_the_rest_is_there() -> None:
    text = f"[Void]\n--db = _7\n{PRICES}[Next]\nScript = a\nConnected = Void\n--db = _7\n"
    found = import_pylm(text, "my.conf")
    assert not found.runs
    assert list(components(found)) == ["price-master", "price-worker", "Next"]
    assert "# [components.Void]\n" in found.text
    assert "it does not say what to start" in told(found, 1)[0]
    assert components(found)["Next"].args == ["--db", "${socket:Next.db}"]


def test_defaults_hold_for_every_section() -> None:
    text = "[DEFAULT]\nRole = Worker\n--rate = 1\n[a]\nScript = x\n[b]\nscript = y\nROLE = Master\n"
    a, b = components(import_pylm(text, "x")).values()
    assert (a.role, b.role) == ("worker", "master")
    assert a.args == b.args == ["--rate", "1"]


def test_a_file_that_pylm_refused_is_told_and_taken_as_far_as_it_goes() -> None:
    found = import_pylm(f"oops\n{PRICES}[Price Worker]\nReplicas = 3\n", "my.conf")
    assert not found.runs
    assert [flaw.error.line for flaw in found.flaws if flaw.fatal] == [1, 16, 17]
    assert components(found)["price-worker"].replicas == 2


def test_what_is_no_cluster_file_is_said() -> None:
    node = "[DEFAULT]\nName = My Worker\nIp = 127.0.0.1\nProcessors = 1\nPorts_from = 5555\n"
    with pytest.raises(ConfigError, match="describes a node"):
        import_pylm(node, "node1.conf")
    with pytest.raises(ConfigError, match="no section"):
        import_pylm("", "x.conf")


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("Foo", "Foo"), ("Valuation Worker", "valuation-worker"), ("a.b/c", "a-b-c"),
        ("Größe", "groe"), ("株", "component"), ("x" * 80, "x" * 59), ("-", "-"),
    ],
)  # fmt: skip
def test_any_section_becomes_a_name(name: str, component: str) -> None:
    assert list(components(import_pylm(f"[{name}]\nScript = a\n", "x"))) == [component]


def test_names_that_would_be_the_same_are_told_apart() -> None:
    text = "".join(f"[{name}]\nScript = a\n" for name in ("a b", "A B", "a-b", "a/b"))
    assert list(components(import_pylm(text, "x"))) == ["a-b-2", "a-b-3", "a-b", "a-b-4"]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1, max_size=8),
        st.dictionaries(
            st.sampled_from(
                ["Script", "Connected", "Role", "Replicas", "--db", "--Pull", "x", "--a.b"]
            ),
            st.one_of(
                st.text(st.characters(codec="utf-8"), max_size=20),
                st.sampled_from(["_1", "_2", "python3 a.py {_1}", "a, b", "Worker", "3", "{_1"]),
            ),
        ),
        max_size=4,
    )
)
def test_whatever_is_given_the_result_is_a_cluster_file(
    sections: dict[str, dict[str, str]],
) -> None:
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
        for name, options in sections.items()
    )
    try:
        found = import_pylm(text, "my.conf")
    except ConfigError:
        return
    tomllib.loads(found.text)
    if found.runs:
        parse_cluster(found.text)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_texts_come_back_as_they_were(values: list[str]) -> None:
    assert tomllib.loads(item("args", values))["args"] == values


@given(st.text(st.sampled_from("a${}_1")))
def test_33_what_is_literal_there_is_literal_here(value: str) -> None:
    spec, _ = one(f"Script = a\n--x = v{value}")
    assert parse_argument(spec.args[-1]) == f"v{value}"
