"""The magics in IPython: what they take, return, show and complain about."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError

from palm.clients import Client
from palm.clusters import Component, Status
from palm.errors import ConfigError
from palm.runner.local import node_name
from palm_jupyter.magics import _ATTRIBUTE
from tests.jupyter.conftest import Shell, ipython
from tests.support.cluster import until
from tests.support.local import SharedRegistry

WORKER = "%%palm_worker foo --replicas 2{options}\ndef double(x):\n    return {factor} * x\n{more}"


@pytest.fixture
def loaded(shell: Shell) -> Shell:
    shell.ok("%load_ext palm_jupyter")
    return shell


def test_cell_magic_below_the_first_line_is_told_where_it_belongs(loaded: Shell) -> None:
    result = loaded.run("# a comment\n%%palm_worker foo\ndef f(x):\n    return x")
    assert isinstance(result.error, UsageError)
    assert "first line of its cell" in str(result.error)
    loaded.ok("%unload_ext palm_jupyter")
    assert "%palm_worker" not in loaded.shell.magics_manager.magics["line"]


@pytest.fixture(scope="module")
def kept_cluster(shared_registry: SharedRegistry) -> Iterator[str]:
    with shared_registry.cluster(("processes",)) as name:
        yield name


@pytest.fixture
def foo(shared_registry: SharedRegistry, kept_cluster: str, palm_home: Path) -> Iterator[Shell]:
    """A shell with a master that was started here, or for another test, and nothing else."""
    with shared_registry.again(kept_cluster, "foo"), ipython() as shell:
        shell.ok("%load_ext palm_jupyter\n%palm master --name foo;")
        yield shell


def worker(shell: Shell, factor: int = 2, options: str = "", more: str = "") -> Any:
    return shell.ok(WORKER.format(factor=factor, options=options, more=more))


# Loading


def test_import_alone_registers_and_loads_nothing() -> None:
    code = "import sys, palm_jupyter; print([m for m in ('IPython', 'zmq', 'pandas', 'anywidget')"
    code += " if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"


def test_unload_removes_all_that_load_added(shell: Shell) -> None:
    instance = shell.shell

    def registered() -> tuple[Any, ...]:
        magics = instance.magics_manager
        formatter = instance.display_formatter.ipython_display_formatter
        return (
            # IPython loads some of its own when they are first used.
            [name for kind in magics.magics.values() for name in kind if "palm" in name],
            [name for name in magics.registry if "Palm" in name],
            len(instance.Completer.custom_matchers),
            dict(formatter.type_printers),
            hasattr(instance, _ATTRIBUTE),
        )

    before = registered()
    shell.ok("%load_ext palm_jupyter")
    assert registered() != before
    shell.ok("%load_ext palm_jupyter\n%reload_ext palm_jupyter")
    shell.ok("%palm master --name foo")
    shell.ok("%unload_ext palm_jupyter")
    assert registered() == before
    assert "not found" in shell.run("%palm status").errors


def test_loading_starts_nothing(palm_home: Path) -> None:
    with ipython() as shell:
        shell.ok("%load_ext palm_jupyter")
        assert not (palm_home / "run").exists()


# Usage


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%palm statsu", "did you mean status?"),
        ("%palm master", "--name"),
        ("%palm logs foo --gerp x", "did you mean --grep?"),
        ("%palm stop", "give either names or --all"),
        ("%palm logs foo -n many", "not a whole number"),
        ("%palm master --name 'foo", "No closing quotation"),
        ("%%palm_worker\nx", "MASTER"),
        ("%%palm_worker foo --replicas 0\nx", "not a number of processes"),
        ("%%palm_worker foo --replcas 2\nx", "did you mean --replicas?"),
        ("%palm master --name a/b", "cannot be the name"),
        ("%%palm_worker foo --label\nx", "--label"),
    ],
)
def test_mistakes_are_one_line_without_a_traceback(loaded: Shell, line: str, text: str) -> None:
    result = loaded.run(line)
    assert result.error is not None
    shown = result.errors + result.text
    assert text in shown
    assert "Traceback" not in shown and len(shown.strip().splitlines()) <= 2


@pytest.mark.parametrize("line", ["%palm", "%palm --help", "%palm help", "%palm -h"])
def test_help_lists_the_commands(loaded: Shell, line: str) -> None:
    text = loaded.ok(line).text
    for command in ("master", "status", "logs", "stop"):
        assert command in text


@pytest.mark.parametrize("line", ["%palm logs --help", "%palm help logs"])
def test_help_of_a_command(loaded: Shell, line: str) -> None:
    assert "--grep" in loaded.ok(line).text


def test_question_mark_shows_the_usage(loaded: Shell) -> None:
    for magic, word in (("palm", "commands:"), ("palm_worker", "--replicas")):
        kind = "line" if magic == "palm" else "cell"
        assert word in loaded.shell.find_magic(magic, kind).__doc__
    assert "--push" in loaded.ok("%%palm_worker --help\nx").text


# Starting


def test_master_is_returned_stored_and_silenced(loaded: Shell) -> None:
    component = loaded.ok("%palm master --name foo -o m").value
    assert isinstance(component, Component) and loaded.shell.user_ns["m"] is component
    silent = loaded.ok("%palm master --name foo;")
    assert silent.value is None and not silent.text and not silent.bundles
    assert loaded.ok("s = %palm status").bundles == []
    assert isinstance(loaded.shell.user_ns["s"], Status)


def test_linked_components_start_and_unknown_ones_are_said(foo: Shell, tmp_path: Path) -> None:
    target = tmp_path / "work.py"
    target.write_text("def f(x):\n    return x + 1\n\n\ndef g(x):\n    return x * 2\n")
    assert "needs a target" in foo.run("%palm server --name first").text
    foo.ok(f"%palm server {target} --name first --pipelined -o s")
    first = foo.shell.user_ns["s"]
    assert (first.role, first.functions) == ("server", ("echo", "f", "g"))
    line = f"%palm sink {target} --name last --previous {{}};"
    assert "did you mean 'first'?" in foo.run(line.format("first,frist")).text
    foo.ok(line.format("first"))
    with Client("first") as client:
        assert list(client.job(["first.f", "last.g"], [1, 2])) == [4, 6]
    assert "whose results" in foo.run("%palm hub --name h").text
    assert foo.ok("%palm hub --name h --previous last").value.role == "hub"


def test_variables_expand_on_the_option_line_only(foo: Shell) -> None:
    foo.shell.user_ns |= {"count": 2, "where": "foo"}
    source = "%%palm_worker {where} --replicas {count} -o w\ndef f(x):\n    return f'{x}-{x}'\n"
    assert foo.ok(source).value.replicas == 2
    foo.ok("from palm import Client\nwith Client('foo') as c: y = c.eval('foo.f', 3)")
    assert foo.shell.user_ns["y"] == "3-3"


def test_a_cell_runs_on_the_node_and_on_labels_that_it_is_for(foo: Shell) -> None:
    source = "%%palm_worker foo --node {where} -o w\ndef f(x):\n    return x\n"
    foo.shell.user_ns["where"] = node_name()
    assert foo.ok(source).value.state == "ready"
    foo.shell.user_ns["where"] = "nowhere"
    assert "there is no node 'nowhere'" in foo.run(source).text
    labelled = foo.run(source.replace("--node {where}", "--label zone_eu"))
    assert "cannot be a label" in labelled.text


def test_cell_run_again_is_kept_changed_replaced(foo: Shell) -> None:
    first = worker(foo)
    again = worker(foo)
    assert (
        again.value is first.value and "runs already, unchanged" in again.bundles[-1]["text/plain"]
    )
    more = "def other(x):\n    return x\n"
    changed = worker(foo, factor=3, more=more)
    text = changed.bundles[-1]["text/plain"]
    assert "was stopped and started anew: + other, changed double" in text
    fewer = worker(foo, factor=3)
    assert "\N{MINUS SIGN} other" in fewer.bundles[-1]["text/plain"]
    anew = worker(foo, factor=3, options=" --replace")
    assert "started anew" in anew.bundles[-1]["text/plain"]
    scaled = worker(foo, factor=3, options=" --replicas 3")
    assert "2 to 3 replicas" in scaled.bundles[-1]["text/plain"]


def test_terminal_gets_text_and_the_line_that_says_what_changed(shell: Shell) -> None:
    formatter = shell.shell.display_formatter
    formatter.active_types = ["text/plain"]
    try:
        shell.ok("%load_ext palm_jupyter")
        master = shell.ok("%palm master --name foo")
        assert "foo   master  ready" in master.text and not master.bundles
        worker(shell)
        text = worker(shell, more="def other(x):\n    return x\n").text
        assert text.startswith("foo-worker was stopped and started anew: + other\n")
        assert "foo-worker-1  worker  ready" in text
    finally:
        formatter.active_types = formatter.format_types


def test_pushed_names_come_with_the_cell(foo: Shell) -> None:
    foo.ok("LIMIT = 5\ndef helper(x):\n    return x + LIMIT\n")
    source = "%%palm_worker foo{} -o w\ndef f(x):\n    return helper(x) * LIMIT\n"
    result = foo.run(source.format(""))
    assert isinstance(result.error, ConfigError)
    assert "--push LIMIT" in result.text and "--push helper" in result.text
    foo.ok(source.format(" --push LIMIT,helper"))
    foo.ok("from palm import Client\nwith Client('foo') as c: y = c.eval('foo.f', 1)")
    assert foo.shell.user_ns["y"] == 30
    foo.ok("LIMIT = 6")
    again = foo.ok(source.format(" --push LIMIT,helper"))
    assert "other values pushed" in again.bundles[-1]["text/plain"]
    assert "did you mean 'LIMIT'" in foo.run(source.format(" --push LIMTI")).text


def test_what_cannot_be_pushed_is_said(foo: Shell) -> None:
    foo.ok("import threading\nlock = threading.Lock()")
    result = foo.run("%%palm_worker foo --push lock\ndef f(x):\n    return lock\n")
    assert "lock cannot be pushed" in result.text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("def f(x:\n    return x\n", "line 2 of the cell"),
        ("def f(x):\n    return np.sum(x)\n", "`import numpy as np`"),
        ("x = 1\n", "defines no function to serve"),
        ("def _f(x):\n    return x\n", "defines no function to serve"),
    ],
)
def test_cells_that_cannot_work_are_not_started(foo: Shell, cell: str, text: str) -> None:
    result = foo.run(f"%%palm_worker foo\n{cell}")
    assert isinstance(result.error, ConfigError) and text in result.text
    assert "magics.py" not in result.text
    assert foo.ok("s = %palm status").error is None
    assert len(foo.shell.user_ns["s"].components) == 1


def test_unknown_master_is_said_at_once(foo: Shell) -> None:
    source = "%%palm_worker {}\ndef f(x):\n    return x\n"
    assert "did you mean 'foo'" in foo.run(source.format("fooo")).text
    foo.ok("%palm stop foo")
    assert "%palm master --name foo" in foo.run(source.format("foo")).text


def test_worker_class_of_a_cell_is_served(foo: Shell) -> None:
    foo.ok(
        "%%palm_worker foo -o w\nfrom palm.servers import Worker\n"
        "class Mine(Worker):\n    def hello(self, x):\n        return self.name, x\n"
    )
    foo.ok("from palm import Client\nwith Client('foo') as c: y = c.eval('foo.hello', 1)")
    assert foo.shell.user_ns["y"] == ("foo-worker-0", 1)


def test_errors_of_a_start_can_be_pickled(foo: Shell) -> None:
    error = foo.run("%%palm_worker foo\nimport not_there\ndef f(x): return x\n").error
    assert error is not None
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Looking and stopping


def test_top_is_a_frame_of_what_components_have_to_do(foo: Shell) -> None:
    frame = foo.ok("%palm top").value
    assert list(frame.index) == ["foo"]
    assert {"cpu", "rss", "rate_in", "queued", "p99", "failed"} <= set(frame.columns)
    assert foo.ok("%palm top --functions").value.index.names == ["component", "function"]
    assert foo.ok("%palm top --edges").value.index.names == ["source", "target"]


def test_logs_are_text_and_shown_as_they_are(foo: Shell) -> None:
    evil = "<img src=x onerror=alert(1)> \\x1b[31mred\\x1b[0m"
    foo.ok(f"%%palm_worker foo;\nprint('{evil}', flush=True)\ndef f(x):\n    return x\n")
    shown = "<img src=x onerror=alert(1)> red"
    result = until(lambda: shown in (r := foo.ok("%palm logs foo-worker-0 -n 3")).value and r)
    assert isinstance(result.value, str)
    assert repr(result.value) == str(result.value)
    assert "push address" not in foo.ok("%palm logs foo-worker --grep img").value
    assert "did you mean 'foo-worker'" in foo.run("%palm logs foo-workr").text


def test_stop_returns_nothing_and_all_stops_all(foo: Shell) -> None:
    worker(foo)
    assert foo.ok("%palm stop foo-worker").value is None
    states = {c.name: c.state for c in foo.ok("s = %palm status\ns").value.components}
    assert states == {"foo": "ready", "foo-worker": "stopped"}
    foo.ok("%palm stop --all")
    assert foo.ok("s = %palm status\ns").value.ready


def test_old_status_is_shown_as_it_was(foo: Shell) -> None:
    foo.ok("s = %palm status")
    status = foo.shell.user_ns["s"]
    foo.shell.user_ns["s"] = Status(status.cluster, status.time - 60, status.components)
    (shown,) = foo.ok("s").bundles
    assert list(shown) == ["text/plain", "text/html"]


def test_only_the_latest_panel_is_live(foo: Shell) -> None:
    session = getattr(foo.shell, _ATTRIBUTE).session
    foo.ok("%palm status")
    first = session._live
    foo.ok("%palm status")
    assert session._live is not first
    assert first[0].view.live is False and first[0].widget.comm is None
    assert session._live[0].view.live is True
