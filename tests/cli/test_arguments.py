from __future__ import annotations

import subprocess
import sys

import pytest

from palm.cli.arguments import (
    ArgumentsError,
    HelpRequested,
    build_parser,
    component_args,
)
from palm.errors import ConfigError


def parse(line: str, notebook: bool = False) -> dict[str, object]:
    prog = "%palm" if notebook else "palm"
    return vars(build_parser(prog, notebook=notebook).parse_args(line.split()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("master --name foo", {"command": "master", "name": "foo", "detach": False}),
        ("master --name foo -d --pull tcp://a:1", {"detach": True, "pull": "tcp://a:1"}),
        ("worker w.py --master foo", {"target": "w.py", "master": "foo", "name": None}),
        ("worker", {"target": None}),
        ("worker w.py --dask h:8786 --slots 8", {"dask": "h:8786", "executor": None, "slots": 8}),
        ("worker w.py --executor pools:make", {"executor": "pools:make", "slots": None}),
        ("status --json", {"json": True, "cluster": None}),
        ("--json status", {"json": True}),
        ("status", {"json": False}),
        ("--cluster c status", {"cluster": "c"}),
        ("status --cluster c", {"cluster": "c"}),
        ("logs foo", {"names": ["foo"], "n": None, "grep": None, "follow": False}),
        ("logs foo -n 5 --grep x -f", {"n": 5, "grep": "x", "follow": True}),
        ("logs --all --stream stderr --raw", {"all": True, "stream": "stderr", "raw": True}),
        ("logs foo bar --since 2000-01-01T00:00+00:00", {"since": 946684800.0}),
        ("apply c.toml", {"file": "c.toml", "dry_run": False, "timeout": 60.0, "note": ""}),
        ("rollback 3 --dry-run --no-wait", {"version": 3, "dry_run": True, "no_wait": True}),
        ("diff", {"what": None, "other": None, "unified": False}),
        ("diff 1 2 -u", {"what": "1", "other": 2, "unified": True}),
        ("history -n 5", {"version": None, "n": 5}),
        ("check -", {"file": "-", "strict": False}),
        ("nodes", {"action": None}),
        ("nodes remove n1 --yes", {"action": "remove", "name": "n1", "yes": True}),
        ("scale w 3", {"name": "w", "replicas": 3, "timeout": 30.0}),
        ("start a b", {"names": ["a", "b"], "no_wait": False}),
        ("exec w -- ls -la -- -c x", {"name": "w", "program": ["ls", "-la", "--", "-c", "x"]}),
        ("exec w --replica 1 -- sh", {"replica": 1, "program": ["sh"], "code": None}),
        ("exec w -c x", {"code": "x", "program": []}),
        ("exec --json w -- ls --json --cluster c", {"json": True, "cluster": None}),
        ("events -f --since 0", {"follow": True, "n": None}),
        ("job foo.f a.csv", {"function": "foo.f", "file": "a.csv", "errors": "skip", "retries": 0}),
        ("job foo.f --item 1 --item 2", {"item": ["1", "2"], "file": None}),
        ("stop a b", {"names": ["a", "b"], "all": False, "grace": 5.0}),
        ("stop --all --grace 0.5", {"names": [], "all": True, "grace": 0.5}),
        ("version", {"command": "version"}),
        ("up", {"file": None, "linger": None, "timeout": 60.0}),
        ("ui", {"command": "ui"}),
        ("import a.ini", {"file": "a.ini", "pylm_replicas": False, "out": None}),
        ("import a.ini --pylm-replicas -o b.toml --replace", {"out": "b.toml", "replace": True}),
        ("master --name foo -d --replace", {"replace": True}),
        ("up c.toml --linger 2m --timeout 5", {"file": "c.toml", "linger": "2m", "timeout": 5.0}),
        ("down --json", {"json": True}),
        ("ps", {"command": "ps"}),
        ("top", {"n": None, "interval": 1.0, "functions": False, "edges": False, "sort": None}),
        ("top -n 3 --interval 0.5 --sort cpu", {"n": 3, "interval": 0.5, "sort": "cpu"}),
        ("restart foo", {"name": "foo", "timeout": 30.0}),
        ("signal foo HUP", {"name": "foo", "signal": "SIGHUP", "replica": None}),
        ("--registry http://h:1/ status", {"registry": "http://h:1/"}),
        ("worker w.py --master foo -d --kernel", {"kernel": True}),
        ("worker w.py", {"max_tasks": None, "max_rss": None}),
        ("worker w.py --max-tasks 100 --max-rss 2G", {"max_tasks": 100, "max_rss": 2 << 30}),
        ("worker w.py --max-rss 1.5MiB", {"max_rss": 3 << 19}),
        ("worker w.py --max-rss 100000", {"max_rss": 100_000}),
        ("server s.py --name a --pipelined", {"target": "s.py", "pipelined": True, "pull": None}),
        ("pipeline s.py --name b --previous a", {"previous": "a", "sub": None, "to_client": None}),
        ("pipeline s:B --name b --no-to-client -d", {"to_client": False, "detach": True}),
        ("sink s.py --name c --previous a,b/even --to-client", {"previous": "a,b/even"}),
        ("hub --name h --previous a --wpush tcp://h:1", {"previous": "a", "wpush": "tcp://h:1"}),
        ("master --name m --pipelined", {"pipelined": True, "durable": False}),
        ("token add ci --scope viewer", {"scope": "viewer", "user": "", "expires": None}),
        (
            "token add n --scope runner --cluster c --expires 30d",
            {"cluster": "c", "expires": "30d"},
        ),
        ("token list --json", {"action": "list", "json": True}),
        ("token revoke ci", {"action": "revoke", "name": "ci"}),
        ("user remove alice", {"action": "remove", "name": "alice"}),
    ],
)
def test_what_a_shell_may_say(line: str, expected: dict[str, object]) -> None:
    assert expected.items() <= parse(line).items()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("master --name foo", {"name": "foo", "replace": False, "out": ""}),
        ("master --name foo --replace -o m", {"replace": True, "out": "m"}),
        ("status", {"command": "status"}),
        ("logs foo -n 5 --grep x", {"name": "foo", "n": 5, "grep": "x"}),
        ("stop a b", {"names": ["a", "b"], "all": False}),
        ("stop --all", {"names": [], "all": True, "everyone": False}),
        ("stop --all --everyone", {"everyone": True}),
        ("master --name foo --kernel", {"kernel": True}),
        ("logs foo -f", {"follow": True}),
        ("attach", {"name": None}),
        ("top --edges --interval 2", {"edges": True, "functions": False, "interval": 2.0}),
        ("attach other", {"name": "other"}),
        ("restart foo", {"name": "foo"}),
        ("signal foo usr1 --replica 2", {"name": "foo", "signal": "SIGUSR1", "replica": 2}),
        ("scale w 3", {"name": "w", "replicas": 3}),
        ("server s.py --name a -o s", {"target": "s.py", "out": "s", "replace": False}),
        ("pipeline s.py --name b --previous a", {"previous": "a", "to_client": None}),
        ("sink s.py --name c --previous a,b", {"previous": "a,b"}),
        ("hub --name h --previous a --pipelined", {"pipelined": True}),
    ],
)
def test_what_a_notebook_may_say(line: str, expected: dict[str, object]) -> None:
    assert expected.items() <= parse(line, notebook=True).items()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("stauts", r"no such command: stauts; did you mean status\? \(see palm --help\)"),
        ("xyz", r"no such command: xyz; there is up, down, master, worker, server, hub, "),
        ("stop a --everyone", r"no such option: --everyone"),
        ("signal foo HPU", r"there is no signal 'HPU'; did you mean HUP\?"),
        ("status --jsno", r"no such option: --jsno; did you mean --json\? \(see palm status"),
        ("master --nmae=foo --name foo", r"no such option: --nmae; did you mean --name\?"),
        ("master --nam foo", r"required: --name"),  # no abbreviations: they change meaning
        ("master", r"required: --name \(see palm master --help\)"),
        ("master --name", r"argument --name: expected one argument"),
        ("status foo", r"unexpected argument: foo"),
        ("logs foo -n x", r"'x' is not a whole number"),
        ("stop", r"give either names or --all"),
        ("stop foo --all", r"give either names or --all"),
        ("stop foo --grace -1", r"argument --grace"),
        ("stop foo --grace inf", r"'inf' is not a time in seconds"),
        ("worker w.py --max-tasks 0", r"argument --max-tasks: it must be 1 or more"),
        ("worker w.py --max-rss 2X", r"'2X' is not a size, as 500M or 2G is"),
        ("worker w.py --max-rss 0", r"'0' is not a size"),
        ("worker w.py -d --kernel --max-tasks 3", r"a kernel is not started anew"),
        ("server s.py", r"required: --name \(see palm server --help\)"),
        ("server s.py --name a --previous b", r"no such option: --previous"),
        ("sink s.py --name a --prevoius b", r"no such option: --prevoius; did you mean --previous"),
        ("hub s.py --name a", r"unexpected argument: s.py"),
        ("token add ci", r"required: --scope"),
        ("token add ci --scope viewr", r"no such value: viewr; did you mean viewer\?"),
        ("token add ci --scope viewer --expires soon", r"'soon' is not a duration"),
        ("token", r"required: ACTION"),
        ("logs", r"give either names or --all"),
        ("logs foo --all", r"give either names or --all"),
        ("logs foo --since soon", r"'soon' is no time that is over, as 90s, 5m"),
        ("logs foo --stream stdeer", r"no such value: stdeer; did you mean stderr\?"),
        ("exec foo", r"give either a program, behind --, or -c CODE"),
        ("exec foo -c x -- ls", r"give either a program, behind --, or -c CODE"),
        ("exec foo ls", r"unexpected argument: ls"),
        ("exec -- ls", r"required: NAME \(see palm exec --help"),
        ("scale foo many", r"'many' is not a whole number"),
        ("rollback 0", r"it must be 1 or more"),
        ("diff 1 x", r"'x' is not a whole number"),
        ("job foo.f a.json --item 1", r"--item is in place of a file"),
        ("job foo.f --lines --format csv", r"--lines and --format do not agree"),
        ("job foo.f --errors retrun", r"no such value: retrun; did you mean return\?"),
        ("job foo.f --csv --errors return", r"an error has no columns"),
        ("job foo.f --timeout 0", r"a call needs more than no time"),
        ("nodes remvoe", r"no such value: remvoe; did you mean remove\?"),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_sentence(line: str, text: str) -> None:
    with pytest.raises(ArgumentsError, match=text) as caught:
        parse(line)
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    "line",
    ["worker w.py", "master --name foo -d", "ps", "version", "scale w 3 --no-wait", "job foo.f"],
)
def test_notebook_has_a_subset(line: str) -> None:
    with pytest.raises(ArgumentsError):
        parse(line, notebook=True)


@pytest.mark.parametrize(
    ("line", "notebook", "text"),
    [
        ("", False, "usage: palm "),
        ("--help", False, "usage: palm "),
        ("master --help", False, "usage: palm master "),
        ("worker -h", False, "MODULE:Class"),
        ("--version", False, "palm "),
        ("", True, "usage: %palm "),
        ("help", True, "usage: %palm "),
        ("help stop", True, "usage: %palm stop "),
        ("logs --help", True, "usage: %palm logs "),
    ],
)
def test_help_is_a_text_not_an_exit(line: str, notebook: bool, text: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        parse(line, notebook=notebook)
    assert text in caught.value.text


@pytest.mark.parametrize(
    "line",
    [
        "master --name a --pub ipc://p --durable --pipelined",
        "server s.py --name a --pull tcp://h:1 --db tcp://h:2 --pipelined",
        "hub --name a --previous b --sub tcp://h:1 --wpush tcp://h:2 --wpull tcp://h:3",
        "pipeline s.py --name a --previous b --no-to-client",
        "sink s.py --name a --previous b,c/even --pub ipc://p --to-client",
    ],
)
@pytest.mark.parametrize("notebook", [False, True])
def test_options_of_a_component_are_told_to_its_process(line: str, notebook: bool) -> None:
    found = build_parser(notebook=notebook).parse_args(line.split())
    again = [found.command, *component_args(found), "--name", "a"]
    again += [found.target] if getattr(found, "target", None) else []
    assert build_parser(notebook=notebook).parse_args(again) == found


def test_help_does_not_show_what_only_notebooks_use() -> None:
    with pytest.raises(HelpRequested) as caught:
        parse("worker --help")
    assert "--push-file" not in caught.value.text
    assert "--source-name" not in caught.value.text


def test_the_tree_is_light_to_load() -> None:
    code = (
        "import sys; from palm.cli.arguments import build_parser; build_parser(notebook=True);"
        "print([m for m in ('zmq', 'msgspec', 'rich', 'psutil', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_name_without_its_option_gets_a_hint() -> None:
    with pytest.raises(ArgumentsError, match=r"required: --name; did you mean --name foo\?"):
        build_parser().parse_args(["master", "foo"])
    with pytest.raises(ArgumentsError, match=r"required: --name \("):
        build_parser().parse_args(["master"])
